"""Names of Avro as names of Python: none a keyword, none twice, none that hides what the module needs."""

from __future__ import annotations

import builtins
import enum
import keyword
import re
from collections.abc import Collection, Iterable

from pydantic import BaseModel

from waybill_schema_registry.formats.avro.schema import Named

__all__ = ["class_names", "field_names", "member_names"]

_IMPORTED = frozenset(
    {
        *("Aliases", "AliasChoices", "Annotated", "AwareDatetime", "BaseModel", "Decimal", "Default", "Field", "Fixed"),
        *("Float32", "Int32", "Logical", "Millis", "NaiveDatetime", "Named", "Precision", "StrEnum", "TypeAlias"),
        *("UTC", "UUID", "annotations", "date", "datetime", "time", "timedelta"),
    }
)
_NEEDED = frozenset({"bool", "bytes", "dict", "float", "int", "list", "str"})
_TAKEN = _IMPORTED | set(dir(builtins)) | set(keyword.kwlist)
_PROTECTED = ("_", "model_validate", "model_dump", "model_config")


def class_names(types: Collection[Named], taken: str) -> dict[str, str]:
    """Full names to names of classes: CapWords; with their namespace before them where two would be the same."""
    found: dict[str, str] = {}
    used = {*_TAKEN, taken}
    short = [_capitals([each.name]) for each in types]
    for each, simple in zip(types, short, strict=True):
        wanted = simple if short.count(simple) == 1 else _capitals([*each.namespace.split(".")[-1:], each.name])
        found[each.fullname] = name = _free(wanted, used)
        used.add(name)
    return found


def field_names(names: Iterable[str], classes: Iterable[str]) -> dict[str, str]:
    """Names of a record's fields to attributes of a model."""
    found: dict[str, str] = {}
    hidden = {*_IMPORTED, *_NEEDED, *keyword.kwlist, *classes}
    used: set[str] = set()
    for name in names:
        wanted = _ascii(name)
        if wanted.startswith(_PROTECTED):
            wanted = f"field_{wanted.lstrip('_')}"
        if wanted in hidden or hasattr(BaseModel, wanted):
            wanted += "_"
        found[name] = unique = _free(wanted, used)
        used.add(unique)
    return found


def member_names(symbols: Iterable[str]) -> dict[str, str]:
    """Symbols to members of a `StrEnum`."""
    found: dict[str, str] = {}
    used: set[str] = set()
    for symbol in symbols:
        wanted = _ascii(symbol)
        if wanted.startswith("_"):
            wanted = f"symbol{wanted}"
        if (
            keyword.iskeyword(wanted)
            or hasattr(str, wanted)
            or hasattr(enum.StrEnum, wanted)
            or wanted in ("name", "value")
        ):
            wanted += "_"
        found[symbol] = unique = _free(wanted, used)
        used.add(unique)
    return found


def _capitals(parts: Iterable[str]) -> str:
    words = [word for part in parts for word in _ascii(part).split("_") if word]
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return name if name.isidentifier() else f"Type{name}"


def _ascii(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _free(wanted: str, used: Collection[str]) -> str:
    name, number = wanted, 1
    while name in used:
        number += 1
        name = f"{wanted}{number}"
    return name
