"""From a text, or a JSON value, to a schema (Avro 1.12, §Schema Declaration; what it leaves open, as Avro Java 1.12 has it).

There is one way in: a JSON value is written down first. Where the text is a record, its fields are looked up as texts in
the stock of those read before, and only new ones are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro import reading
from waybill_schema_registry.formats.avro.building import Builder
from waybill_schema_registry.formats.avro.memo import Memo
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.schema import Node, Record
from waybill_schema_registry.formats.avro.stackless import run

__all__ = ["parse", "parse_text"]

LONGEST = 16 << 20
WHOLE = b"whole"
"""In place of the lines of a record's fields, for what was read as one text. No lines are like it."""
READ: Final[Memo[tuple[bool, str | bytes, bytes], AvroSchema]] = Memo(16 << 20)
RECORD = msgspec.Raw(b'"record"')


def parse(schema: Any, references: Mapping[str, str] | None = None, *, strict: bool = False) -> AvroSchema:
    """Understand a schema: a JSON value, or a text (a `str` that begins with `{`, `[` or `"`).

    references: name to text; those that others need come first. strict: as a new schema must be (names, defaults that
    fit); else as what is kept is read. Raises `InvalidSchema`, whatever the input.
    """
    if isinstance(schema, str) and schema.lstrip()[:1] in ("{", "[", '"', "/"):
        return parse_text(schema, references, strict=strict)
    if not references and reading.is_object(schema) and schema.get("type") == "record":
        fields = schema.get("fields")
        if reading.is_list(fields):
            return parse_record({**schema, "fields": None}, fields, strict=strict)
    return parse_text(reading.write(schema), references, strict=strict)


def parse_text(text: str | bytes, references: Mapping[str, str] | None = None, *, strict: bool = False) -> AvroSchema:
    """Understand a JSON text; as `parse`."""
    check_length(text)
    if not references and (known := READ.get((strict, text, WHOLE))):
        return known
    builder = Builder(strict=strict)
    roots = {name: builder.finish(described(builder, other)) for name, other in (references or {}).items()}
    root = builder.finish(whole_record(builder, text) or described(builder, text))
    schema = AvroSchema(root, roots)
    return schema if references else READ.keep((strict, text, WHOLE), schema, len(text))


def parse_record(head: Mapping[str, Any], fields: list[Any], *, strict: bool) -> AvroSchema:
    """A record that is given as a value: a line of text a field is all that the fast way needs."""
    text, lines = reading.write(head), reading.write_lines(fields)
    check_length(lines)
    key = (strict, text, lines)
    known = READ.get(key)
    if known:
        return known
    builder = Builder(strict=strict)
    description = reading.read(text)
    root = builder.finish(builder.whole_record(description, lines.split(b"\n")[:-1]))
    return READ.keep(key, AvroSchema(root, {}), len(text) + len(lines))


def check_length(text: str | bytes) -> None:
    if len(text) > LONGEST:
        raise InvalidSchema(f"The schema has {len(text):,} characters, and no more than {LONGEST:,} are read")


def described(builder: Builder, text: str | bytes) -> Node:
    return run(builder.node(reading.read(text), ""))


def whole_record(builder: Builder, text: str | bytes) -> Record | None:
    """A record at the top, by the fast way; None where it is something else, or the slow way must tell what is wrong."""
    members = reading.members_of(text)
    if members is None or members.get("type") != RECORD or "fields" not in members:
        return None
    fields = reading.raw_items(members.pop("fields"))
    if fields is None:
        return None
    return builder.whole_record({name: reading.read(raw) for name, raw in members.items()}, list(map(bytes, fields)))
