"""What may be a name, and what a name means where it stands (Avro 1.12, §Names; Java's `NameValidator.UTF_VALIDATOR`)."""

from __future__ import annotations

import re

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.schema import PRIMITIVES

__all__ = ["check_fullname", "check_name", "full", "shortened", "split"]

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TYPES = frozenset((*PRIMITIVES, "record", "enum", "array", "map", "union", "fixed"))


def split(name: str, namespace: str) -> tuple[str, str]:
    """The namespace and the simple name that a name has in a namespace. A dot in it is stronger than the namespace."""
    space, dot, simple = name.rpartition(".")
    return (space, simple) if dot else (namespace, name)


def full(namespace: str, name: str) -> str:
    return f"{namespace}.{name}" if namespace else name


def shortened(fullname: str, namespace: str) -> str:
    """As it may be written in a namespace: simple if it is at home there and is not the name of a type of Avro."""
    space, _, simple = fullname.rpartition(".")
    return simple if space and space == namespace and simple not in TYPES else fullname


def check_name(name: str, what: str) -> None:
    """Letters, digits and underscores, no digit first. Java takes letters of all scripts up to U+FFFF, and so do we."""
    if not PLAIN.fullmatch(name) and not is_word(name):
        raise InvalidSchema(
            f"{what} {name[:80]!r} is no name in Avro: use letters, digits and underscores, and begin with no digit"
        )


def check_fullname(fullname: str, what: str) -> None:
    for part in fullname.split("."):
        check_name(part, what)


def is_word(name: str) -> bool:
    letters = all(char == "_" or char.isalpha() or char.isdecimal() for char in name)
    return bool(name) and letters and not name[0].isdecimal() and max(name) <= "\uffff"
