"""Encoding and decoding an order of ten lines, the schema's header included, with the bounds that the tests of bad input need.

Beside it fastavro alone, which writes and reads the same dict without any header or bound, and confluent-kafka's serializers.
`plain`: texts, numbers and doubles. `rich`: unions, an enum, decimals, a timestamp and a UUID as well.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any, TypeVar

import fastavro
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from benchmarks.harness import Meter, Row, Run, against, interleave
from waybill import Topic
from waybill.codec import Lacking
from waybill_schema_registry.client.registry import Registry
from waybill_schema_registry.codec import Avro

__all__ = ["measure"]

R = TypeVar("R")
NUMBER = 20_000
ROUNDS = 3
"""Times that each round of the run is repeated: a round takes a quarter of a second."""

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


def listed(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


PLAIN = record(
    "Order",
    order_id="string",
    customer_id="string",
    placed_at="long",
    total="double",
    paid="boolean",
    lines=listed(record("Line", sku="string", quantity="int", price="double")),
)
RICH = record(
    "Order",
    order_id={"type": "string", "logicalType": "uuid"},
    customer_id=["null", "string"],
    placed_at={"type": "long", "logicalType": "timestamp-millis"},
    total=MONEY,
    status={"type": "enum", "name": "Status", "symbols": ["new", "paid", "sent"]},
    lines=listed(record("Line", sku="string", quantity="int", price=MONEY, note=["null", "string"])),
)


def plain() -> dict[str, Any]:
    lines = [{"sku": f"sku-{n:05}", "quantity": 7 * n + 1, "price": 9.99 * n} for n in range(10)]
    head = {"order_id": "o-1234567", "customer_id": "c-89123", "placed_at": 1_767_225_600_000, "total": 1234.5}
    return {**head, "paid": True, "lines": lines}


def rich() -> dict[str, Any]:
    lines = [
        {"sku": f"sku-{n:05}", "quantity": 7 * n + 1, "price": Decimal("9.99") * n, "note": None if n % 2 else "gift"}
        for n in range(10)
    ]
    head = {"order_id": uuid.UUID(int=7), "customer_id": "c-89123", "placed_at": datetime(2026, 1, 1, tzinfo=UTC)}
    return {**head, "total": Decimal("1234.50"), "status": "paid", "lines": lines}


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time an order."""
    rows: list[Row] = []
    for kind, schema, order, slack in (("plain", PLAIN, plain(), 1.25), ("rich", RICH, rich(), 2.0)):
        ways = contenders(schema, order)
        found = interleave({name: lambda way=way: timed(run, way) for name, way in ways.items()}, ROUNDS * run.rounds)
        for verb, at_most in (("encode", 1.15), ("decode", slack)):
            name = f"avro {verb}, {kind} order"
            ours = found[f"{verb} ours"]
            rows.append(against(f"{name}, vs fastavro alone", "µs cpu", ours, found[f"{verb} bare"], at_most=at_most))
            rows.append(against(f"{name}, vs confluent-kafka", "µs cpu", ours, found[f"{verb} confluent"], at_most=1.0))
    return rows


def contenders(schema: dict[str, Any], order: dict[str, Any]) -> dict[str, Callable[[], object]]:
    parsed, codec = (
        fastavro.parse_schema(schema),
        Topic("orders", dict, codec=Avro(Registry("memory://"), schema=schema)).codec,
    )
    asyncio.run(told(lambda: codec.encode(order)))
    body = codec.encode(order)
    data = body[5:]
    client = SchemaRegistryClient.new_client({"url": "mock://orders"})
    serialize, deserialize = AvroSerializer(client, json.dumps(schema)), AvroDeserializer(client, json.dumps(schema))
    context = SerializationContext("orders", MessageField.VALUE)
    theirs = serialize(order, context)

    def write() -> bytes:
        target = BytesIO()
        fastavro.schemaless_writer(target, parsed, order)
        return target.getvalue()

    if not (codec.decode(body) == deserialize(theirs, context) == order and write() == data == theirs[5:]):
        raise RuntimeError("the contenders do not agree")
    return {
        "encode bare": write,
        "encode ours": lambda: codec.encode(order),
        "encode confluent": lambda: serialize(order, context),
        "decode bare": lambda: fastavro.schemaless_reader(BytesIO(data), parsed, None),
        "decode ours": lambda: codec.decode(body),
        "decode confluent": lambda: deserialize(theirs, context),
    }


async def told(call: Callable[[], R]) -> R:
    """What `call` gives once it lacks nothing."""
    while True:
        try:
            return call()
        except Lacking as lacking:
            await lacking.fetch()


def timed(run: Run, call: Callable[[], object]) -> float:
    meter, number = Meter(), run.messages(NUMBER)
    with meter:
        for _ in range(number):
            call()
    return meter.per_message(number)
