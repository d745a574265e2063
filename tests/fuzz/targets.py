"""What random bytes are fed to. A target returns, or raises what a caller is told to expect and nothing else."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.registry.oracle.generator import Generator
from tests.registry.oracle.mutations import mutated
from waybill.errors import ConfigurationError, DecodeError
from waybill_schema_registry.codec.forms import form_of
from waybill_schema_registry.codec.limits import Limits
from waybill_schema_registry.codec.reading import Read, reader
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.format import AvroFormat
from waybill_schema_registry.formats.avro.parsing import parse, parse_text

FORMAT = AvroFormat()
LIMITS = Limits(body=1 << 16, items=10_000)


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": name, "type": type_} for name, type_ in fields.items()]}


def logical(type_: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": type_, "logicalType": name, **more}


TREE = record("Tree", value="int", children={"type": "array", "items": "Tree"})
ORDER = record(
    "Order",
    id=logical("string", "uuid"),
    at=logical("long", "timestamp-millis"),
    day=logical("int", "date"),
    total=logical("bytes", "decimal", precision=12, scale=2),
    state={"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]},
    lines={"type": "array", "items": record("Line", sku="string", count="int", price=["null", "double"])},
    notes={"type": "map", "values": ["null", "string", "bytes", {"type": "fixed", "name": "Sum", "size": 16}]},
)
LATER = {**ORDER, "fields": [{"name": "more", "type": "string", "default": "x"}, *ORDER["fields"][1:]]}
LIST = record("List", value="long", next=["null", "List"])
PAIRS: list[tuple[Any, Any]] = [
    (ORDER, None),
    (ORDER, LATER),
    (TREE, None),
    (LIST, record("List", next=["null", "List"])),
    ({"type": "map", "values": {"type": "map", "values": "boolean"}}, None),
    (["null", "int", "string", TREE], ["null", "long", "bytes", TREE]),
]
"""Writers, and readers where they are others."""


@cache
def decoder(index: int) -> Read:
    return made(*PAIRS[index])


def made(writer: Any, wanted: Any) -> Read:
    theirs = parse(writer, strict=True).root
    ours = theirs if wanted is None else parse(wanted, strict=True).root
    return reader((theirs, form_of(theirs)), (ours, form_of(ours)), 0, LIMITS)


def schema_text(data: bytes) -> None:
    """Any text: refused as no schema, or read, written and read again as the same."""
    with contextlib.suppress(InvalidSchema):
        schema = parse_text(data)
        again = parse_text(schema.text)
        assert again.text == schema.text
        assert again.canonical == schema.canonical
        FORMAT.differences(schema, again)
        FORMAT.normalized(schema)
    with contextlib.suppress(InvalidSchema):
        FORMAT.parse(data.decode("utf-8", "replace"))


def body(data: bytes) -> None:
    """Any body of some schemas: a value, or a `DecodeError`. The first byte chooses the schemas."""
    if data:
        with contextlib.suppress(DecodeError):
            decoder(data[0] % len(PAIRS))(data[1:])


def body_of_any_schema(data: bytes) -> None:
    """Any body of any schema that may be registered. The first three bytes choose the schema and what reads it."""
    make = Generator(random.Random(data[:3]))
    schema = make.schema()
    wanted = mutated(make, schema) if data[2:3] > b"\x7f" else None
    with contextlib.suppress(InvalidSchema, ConfigurationError, DecodeError):
        made(schema, wanted)(data[3:])


TARGETS: dict[str, Callable[[bytes], None]] = {
    "schema_text": schema_text,
    "body": body,
    "body_of_any_schema": body_of_any_schema,
}
