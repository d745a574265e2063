"""The members of a schema's objects, one kind at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.reading import is_list, is_object
from waybill_schema_registry.formats.avro.schema import nothing

__all__ = ["distinct", "needed", "order", "properties", "shown", "strings", "text", "twice"]

ORDERS = ("ascending", "descending", "ignore")


def needed(value: dict[str, Any], member: str) -> Any:
    if member not in value:
        raise InvalidSchema(f'Every {value["type"]} needs "{member}"; this one has none: {shown(value)}')
    return value[member]


def text(value: Any) -> str | None:
    """Docs and namespaces that are no strings count as absent, as with Java."""
    return value if isinstance(value, str) else None


def strings(value: Any, member: str) -> tuple[str, ...]:
    if not is_list(value) or not all(isinstance(item, str) for item in value):
        raise InvalidSchema(f'"{member}" is a list of names; here it is {shown(value)}')
    return tuple(value)


def distinct(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def twice(items: Sequence[str]) -> str:
    """The first that stands there again."""
    return next(item for item, times in Counter(items).items() if times > 1)


def order(value: dict[str, Any]) -> str:
    if "order" not in value:
        return ORDERS[0]
    given: Any = value["order"]
    if not isinstance(given, str) or given.lower() not in ORDERS:
        raise InvalidSchema(f'"order" is one of {", ".join(ORDERS)}; here it is {shown(given)}')
    return given.lower()


def properties(value: dict[str, Any], reserved: frozenset[str]) -> Mapping[str, Any]:
    """What Avro has no meaning for, as it stands in the text."""
    if value.keys() <= reserved:
        return nothing()
    return {name: each for name, each in value.items() if name not in reserved}


def shown(value: Any) -> str:
    """As a message shows it: no longer than a line, and no control characters."""
    if is_object(value):
        members = ", ".join(f"{name!r:.40}" for name in list(value)[:6])
        return f"an object with {members}" if members else "an empty object"
    if is_list(value):
        return f"a list of {len(value)}"
    return f"{value!r:.80}"
