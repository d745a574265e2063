"""An Avro schema that was understood: a graph of nodes, names resolved.

A node is known by identity: where a record contains itself, its field's type *is* the record. Nodes never change once
`parse` has handed them out, so that one may be shared by many schemas. Names are full, aliases too, as the specification
resolves them (Avro 1.12, §Names and §Aliases). What has no meaning for Avro stands in `properties`, in the order of the
text; a logical type does as well, since to Avro it is a property that a reader may ignore.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum as Choice
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, TypeAlias

__all__ = [
    "ABSENT",
    "PRIMITIVES",
    "Absent",
    "Array",
    "Enum",
    "Field",
    "Fixed",
    "Map",
    "Named",
    "Node",
    "Primitive",
    "Record",
    "Union",
    "children",
    "named_types",
    "nodes",
]

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def nothing() -> Mapping[str, Any]:
    return NOTHING


class Absent(Choice):
    """What stands where there is no default; a default of null is `None`."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Typed:
    """properties: all that Avro itself does not read, `logicalType` among it."""

    properties: Mapping[str, Any] = field(default_factory=nothing)

    @property
    def logical(self) -> str | None:
        """The name of the logical type, whether Avro knows it or not."""
        name = self.properties.get("logicalType")
        return name if isinstance(name, str) else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'fullname', getattr(self, 'type', ''))}>"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Primitive(Typed):
    """type: one of `PRIMITIVES`."""

    type: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Array(Typed):
    type: ClassVar[Literal["array"]] = "array"
    items: Node


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Map(Typed):
    type: ClassVar[Literal["map"]] = "map"
    values: Node


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Union(Typed):
    """Its text is a list, so it has no properties."""

    type: ClassVar[Literal["union"]] = "union"
    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Titled(Typed):
    """What can be referred to. namespace: empty where it has none. aliases: full names, as the text orders them."""

    name: str
    namespace: str = ""
    doc: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def fullname(self) -> str:
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Enum(Titled):
    """default: the symbol that a reader takes for those it does not know."""

    type: ClassVar[Literal["enum"]] = "enum"
    symbols: tuple[str, ...]
    default: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Fixed(Titled):
    """size: in bytes."""

    type: ClassVar[Literal["fixed"]] = "fixed"
    size: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Record(Titled):
    """error: written as `error`, which only protocols tell from a record. fields: in order."""

    type: ClassVar[Literal["record"]] = "record"
    error: bool = False
    fields: tuple[Field, ...] = ()
    by_name: Mapping[str, Field] = field(default_factory=nothing)

    def complete(self, fields: tuple[Field, ...]) -> None:
        """Once, by the parser: a record must be known by its name before its fields are read."""
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "by_name", {each.name: each for each in fields})


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Field:
    """default: as a JSON value, or `ABSENT`. aliases: as the text has them, since fields have no namespace.

    settled: its text, if it depends on nothing around it and surely reads what it writes itself, so that meeting the same
    text again needs no look inside; else empty. written: what `text` made of it, if that is the same wherever it stands.
    """

    name: str
    type: Node
    doc: str | None = None
    default: Any = ABSENT
    order: str = "ascending"
    aliases: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=nothing)
    settled: bytes = b""
    written: str | None = None

    @property
    def has_default(self) -> bool:
        return self.default is not ABSENT


Named: TypeAlias = Record | Enum | Fixed
Node: TypeAlias = Primitive | Array | Map | Union | Record | Enum | Fixed


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below this one: items, values, branches, the types of fields."""
    if isinstance(node, Record):
        return tuple(each.type for each in node.fields)
    if isinstance(node, Union):
        return node.branches
    if isinstance(node, Array):
        return (node.items,)
    return (node.values,) if isinstance(node, Map) else ()


def nodes(root: Node) -> Iterator[Node]:
    """Every node that can be reached, each once, in the order of the text. No depth is too great."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting.extend(reversed(children(node)))


def named_types(root: Node) -> dict[str, Named]:
    """Every record, enum and fixed that can be reached, by full name."""
    return {node.fullname: node for node in nodes(root) if isinstance(node, Record | Enum | Fixed)}
