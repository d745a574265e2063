"""What a comparison found, as a report: with pointers, fragments, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from waybill_schema_registry.formats.avro import reading
from waybill_schema_registry.formats.avro.resolution import AMBIGUOUS, MISSING, TOO_MUCH, Break, breaks
from waybill_schema_registry.formats.avro.schema import Enum, Field, Named, Node, named_types
from waybill_schema_registry.formats.avro.stackless import run
from waybill_schema_registry.formats.avro.text import Text
from waybill_schema_registry.formats.format import Difference

__all__ = ["differences_of"]


def differences_of(reader: Node, writer: Node) -> tuple[Difference, ...]:
    """Why the reader cannot read what the writer writes, in Java's order and words; no more than 1,000."""
    found = breaks(reader, writer)
    if not found:
        return ()
    fragments = Fragments(reader, writer)
    return tuple(
        Difference(
            type=each.type,
            location=pointer(each.at),
            message=each.message,
            writer_location=pointer(each.writer_at),
            reader_fragment=fragments.of(each.field or each.reader),
            writer_fragment=fragments.of(each.writer),
            advice=advice(each),
        )
        for each in found
    )


def pointer(path: Sequence[str]) -> str:
    """A JSON pointer as Java writes it: of the whole it is `/`."""
    return "/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in path)


class Fragments:
    """Parts of both schemas as JSON values. Types inside a part are names, so that no part is larger than its text was."""

    def __init__(self, reader: Node, writer: Node) -> None:
        self.known = {*named_types(reader), *named_types(writer)}
        self.made: dict[int, Any] = {}

    def of(self, part: Node | Field) -> Any:
        if id(part) not in self.made:
            self.made[id(part)] = self.value(part)
        return self.made[id(part)]

    def value(self, part: Node | Field) -> Any:
        if isinstance(part, Field):
            return reading.read(run(Text(self.known).field(part, "")))
        known = self.known - {part.fullname} if isinstance(part, Named) else self.known
        return reading.read(run(Text(known).node(part, "")))


def advice(found: Break) -> str:
    """What may be done about it, on the side of the reader or of the writer."""
    lacks = found.type == "TYPE_MISMATCH" and found.field is not None  # Java's word for an enum that the writer lacks
    return ADVICE[MISSING if lacks else found.type].format(
        reader=name_of(found.reader),
        writer=name_of(found.writer),
        field=found.field.name if found.field else "",
        symbols=missing_symbols(found) if found.type == "MISSING_ENUM_SYMBOLS" else "",
    )


def name_of(node: Node) -> str:
    return node.fullname if isinstance(node, Named) else node.type


def missing_symbols(found: Break) -> str:
    known = found.reader.symbols if isinstance(found.reader, Enum) else ()
    written = found.writer.symbols if isinstance(found.writer, Enum) else ()
    return ", ".join(symbol for symbol in written if symbol not in known)


ADVICE = {
    MISSING: (
        'Give the field {field} of the reader a default, e.g. "default": null with a type that begins with "null"; '
        "or, if it is a field of {writer} by a new name, name the old one in its aliases"
    ),
    "TYPE_MISMATCH": (
        "Keep the type {writer}, or add a field of the new type beside the old one. A reader may only widen: "
        "int to long, float or double; long to float or double; float to double; string to bytes and back"
    ),
    "MISSING_UNION_BRANCH": "Add the missing type to the reader's union; or let no writer write it until all readers know it",
    "MISSING_ENUM_SYMBOLS": 'Add {symbols} to the reader\'s enum {reader}; or give that enum a "default" for symbols it lacks',
    "NAME_MISMATCH": 'Name the reader\'s {reader} as the writer does, or give it "aliases": ["{writer}"]',
    "FIXED_SIZE_MISMATCH": "The size of {reader} cannot change: add a field of another fixed type beside the old one",
    TOO_MUCH: "Make the unions of both schemas smaller: each branch of the one is compared with each of the other",
    AMBIGUOUS: "The field {field} of the reader fits several fields of {writer}: take out aliases until it fits one",
}
