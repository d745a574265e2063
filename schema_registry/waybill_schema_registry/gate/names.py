"""Which named types an Avro schema defines, and which it only uses. Pure; it takes any JSON value, however deep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from waybill_schema_registry.formats.avro import names
from waybill_schema_registry.formats.avro.schema import PRIMITIVES

__all__ = ["Names", "names_in"]

NAMED = frozenset({"record", "error", "enum", "fixed"})
BUILT_IN = frozenset({*PRIMITIVES, *NAMED, "array", "map"})


@dataclass(frozen=True, slots=True)
class Names:
    """Full names, in the order of the schema."""

    defined: tuple[str, ...]
    used: tuple[str, ...]

    @property
    def foreign(self) -> tuple[str, ...]:
        """What others must define."""
        return tuple(dict.fromkeys(name for name in self.used if name not in self.defined))


def names_in(schema: Any) -> Names:
    """schema: as a JSON value. What is wrong with it is for the parser to say."""
    defined, used = list[str](), list[str]()
    waiting: list[tuple[Any, str]] = [(schema, "")]
    while waiting:
        value, namespace = waiting.pop()
        if isinstance(value, str):
            if value not in BUILT_IN:
                used.append(names.full(*names.split(value, namespace)))
        elif isinstance(value, list):
            waiting.extend((branch, namespace) for branch in reversed(cast("Sequence[Any]", value)))
        elif isinstance(value, dict):
            node = cast("dict[str, Any]", value)
            if isinstance(name := node.get("name"), str) and node.get("type") in NAMED:
                given = node.get("namespace", namespace)
                space, short = names.split(name, given if isinstance(given, str) else "")
                defined.append(names.full(space, short))
                namespace = space
            waiting.extend(reversed([(part, namespace) for part in _parts(node)]))
    return Names(tuple(dict.fromkeys(defined)), tuple(used))


def _parts(node: dict[str, Any]) -> Iterator[Any]:
    kind = node.get("type")
    if kind in {"record", "error"}:
        fields = node.get("fields")
        for field in cast("Sequence[Any]", fields) if isinstance(fields, list) else ():
            if isinstance(field, dict):
                yield cast("dict[str, Any]", field).get("type")
    elif kind == "array":
        yield node.get("items")
    elif kind == "map":
        yield node.get("values")
    elif not isinstance(kind, str) or kind not in BUILT_IN:
        yield kind
