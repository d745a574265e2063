"""What of a reader meets what of a writer: each pair once, with where it stands in both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from waybill_schema_registry.formats.avro.schema import Array, Enum, Fixed, Map, Node, Primitive, Record, Union

__all__ = ["UNLIKE", "Finding", "Pair", "filled", "likeness", "pairs"]

PROMOTED: Final = frozenset(
    {
        ("long", "int"),
        ("float", "int"),
        ("float", "long"),
        ("double", "int"),
        ("double", "long"),
        ("double", "float"),
        ("bytes", "string"),
        ("string", "bytes"),
    }
)
"""Reader, writer."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes, neither of them a union, and the locations of both."""

    reader: Node
    writer: Node
    location: str = ""
    writer_location: str = ""

    def inside(self, reader: Node, writer: Node, step: str, writer_step: str = "") -> Pair:
        return Pair(reader, writer, f"{self.location}/{step}", f"{self.writer_location}/{writer_step or step}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule has to say of a pair. location, writer_location: below those of the pair."""

    message: str
    advice: str
    location: str = ""
    writer_location: str = ""


def pairs(reader: Node, writer: Node) -> Iterator[Pair]:
    """From the top down. What does not meet at all, where the schemas are not compatible, is left out."""
    seen: set[tuple[int, int]] = set()
    waiting = [Pair(reader, writer)]
    while waiting:
        for pair in branches(waiting.pop()):
            if (id(pair.reader), id(pair.writer)) not in seen:
                seen.add((id(pair.reader), id(pair.writer)))
                yield pair
                waiting.extend(reversed(list(below(pair))))


def branches(pair: Pair) -> Iterator[Pair]:
    """A union of the writer is each of its branches; one of the reader is the branch that each of these is read by."""
    for at, writer in options(pair.writer):
        degrees = [(likeness(reader, writer), index) for index, (_, reader) in enumerate(options(pair.reader))]
        degree, index = min(degrees, default=(UNLIKE, 0))
        if degree < UNLIKE:
            to, reader = options(pair.reader)[index]
            yield Pair(reader, writer, pair.location + to, pair.writer_location + at)


def options(node: Node) -> list[tuple[str, Node]]:
    if isinstance(node, Union):
        return [(f"/{index}", branch) for index, branch in enumerate(node.branches)]
    return [("", node)]


UNLIKE: Final = 3


def likeness(reader: Node, writer: Node) -> int:
    """0: the same; 1: by its short name or an alias; 2: promoted."""
    if isinstance(reader, Primitive) and isinstance(writer, Primitive):
        return 0 if reader.type == writer.type else 2 if (reader.type, writer.type) in PROMOTED else UNLIKE
    if type(reader) is not type(writer):
        return UNLIKE
    if isinstance(reader, Record | Enum | Fixed) and isinstance(writer, Record | Enum | Fixed):
        if reader.fullname == writer.fullname:
            return 0
        return 1 if reader.name == writer.name or writer.fullname in reader.aliases else UNLIKE
    return 0


def below(pair: Pair) -> Iterator[Pair]:
    reader, writer = pair.reader, pair.writer
    if isinstance(reader, Record) and isinstance(writer, Record):
        for index, place in filled(reader, writer):
            types = reader.fields[index].type, writer.fields[place].type
            yield pair.inside(*types, f"fields/{index}/type", f"fields/{place}/type")
    elif isinstance(reader, Array) and isinstance(writer, Array):
        yield pair.inside(reader.items, writer.items, "items")
    elif isinstance(reader, Map) and isinstance(writer, Map):
        yield pair.inside(reader.values, writer.values, "values")


def filled(reader: Record, writer: Record) -> Iterator[tuple[int, int]]:
    """The places of the reader's fields, and of the writer's that they are filled from: by name, else by an alias."""
    places = {field.name: place for place, field in enumerate(writer.fields)}
    for index, field in enumerate(reader.fields):
        name = next((name for name in (field.name, *field.aliases) if name in places), None)
        if name is not None:
            yield index, places[name]
