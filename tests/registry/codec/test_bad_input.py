"""What must not hurt a consumer: each becomes a dead letter with its bytes and the reason, and the next message is handled."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
import uuid

import pytest

from tests.registry.codec.posting import long_, post, text
from tests.registry.codec.shelf import Shelf
from waybill import App, Settings, Topic
from waybill_schema_registry.codec import Avro
from waybill_schema_registry.errors import Forbidden, RegistryUnavailable, StoreError

NODE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "next", "type": ["null", "Node"]}, {"name": "id", "type": "string"}],
}
SHAPES = {
    "type": "record",
    "name": "Shapes",
    "fields": [
        {"name": "choice", "type": ["null", "long", "string"]},
        {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "count", "type": "int"},
        {"name": "names", "type": {"type": "array", "items": "string"}},
        {"name": "ratings", "type": {"type": "map", "values": "double"}},
    ],
}
GOOD = {
    "choice": b"\0",
    "colour": b"\0",
    "price": b"\2\1",
    "at": b"\0",
    "key": text(str(uuid.UUID(int=7))),
    "count": b"\2",
    "names": b"\0",
    "ratings": b"\0",
}


def shapes(**parts: bytes) -> bytes:
    return b"".join((GOOD | parts).values())


def chain(depth: int) -> bytes:
    """So many nodes, one within the other."""
    return b"\2" * (depth - 1) + b"\0" + b"\2x" * depth


BAD = {
    "shorter than its header": (SHAPES, b"\0\0\0", "cut off"),
    "empty": (SHAPES, b"", "no header"),
    "a GUID that is cut off": (SHAPES, b"\1" + bytes(15), "cut off"),
    "a GUID that nobody knows": (SHAPES, b"\1" + bytes(16) + shapes(), "no schema 00000000-"),
    "a fingerprint that nobody knows": (SHAPES, b"\xc3\1" + bytes(8) + shapes(), "fingerprint"),
    "AWS Glue's": (SHAPES, b"\3\0" + bytes(16) + shapes(), "AWS Glue"),
    "JSON": (SHAPES, b'{"choice": null}', "begins with 7b"),
    "an unknown id": (SHAPES, b"\0\0\0\x27\x0f" + shapes(), "no schema 9999"),
    "no data": (SHAPES, b"", "ends before"),
    "cut off": (SHAPES, shapes()[:-1], "ends before"),
    "left over": (SHAPES, shapes() + b"\0", "1 bytes are left over"),
    "union 99": (SHAPES, shapes(choice=long_(99)), "a union has no branch 99"),
    "union -1": (SHAPES, shapes(choice=long_(-1)), "a union has no branch -1"),
    "enum 99": (SHAPES, shapes(colour=long_(99)), "an enum has no symbol 99"),
    "enum -1": (SHAPES, shapes(colour=long_(-1)), "an enum has no symbol -1"),
    "a decimal of 1 MB": (SHAPES, shapes(price=long_(1_000_000) + b"\x7f" * 1_000_000), "more than 64 bytes"),
    "a decimal of 65 bytes": (SHAPES, shapes(price=long_(65) + b"\1" * 65), "more than 64 bytes"),
    "a decimal of too many digits": (
        SHAPES,
        shapes(price=long_(64) + b"\x7f" * 64),
        "more digits than its precision, 20",
    ),
    "the year 146 million": (SHAPES, shapes(at=long_(2**62)), "OverflowError"),
    "no uuid": (SHAPES, shapes(key=text("nobody")), "UUID"),
    "no UTF-8": (SHAPES, shapes(names=b"\2\2\xff\0"), "utf-8"),
    "an int of 33 bits": (SHAPES, shapes(count=long_(2**31)), "32 bits"),
    "a varint of 20 bytes": (SHAPES, shapes(at=b"\x80" * 19 + b"\0"), "64 bits"),
    "a varint of more bits": (SHAPES, shapes(at=b"\xff" * 9 + b"\x02"), "64 bits"),
    "a varint that is longer than need be": (SHAPES, shapes(at=b"\x80\0"), "more bytes than it needs"),
    "a length of 2^40": (SHAPES, shapes(key=long_(2**40)), "ends before"),
    "a negative length": (SHAPES, shapes(key=long_(-5)), "negative"),
    "items that are not there": (SHAPES, shapes(names=long_(50_000_000)), "more items than there are bytes"),
    "items of a negative block": (SHAPES, shapes(names=long_(-(2**62)) + b"\2"), "more items than there are bytes"),
    "a block of another size": (SHAPES, shapes(names=b"\1\6\2a\0"), "block"),
    "a map of 2^62": (SHAPES, shapes(ratings=long_(2**62)), "more items than there are bytes"),
    "recursion of 101": (NODE, chain(101), "deeper than 100"),
    "recursion of 5,000": (NODE, chain(5_000), "deeper than 100"),
    "recursion of 500,000": (NODE, b"\2" * 500_000, "deeper than 100"),
    "recursion of 2 million": (NODE, b"\2" * 2_000_000, "no more than 1048576"),
}


@pytest.mark.parametrize("name", BAD)
async def test_it_is_a_dead_letter_and_the_next_is_handled(name: str) -> None:
    schema, data, reason = BAD[name]
    shelf, got = Shelf(), []
    topic = Topic("shapes", dict, codec=Avro(shelf, schema=schema))
    app = App("readers")

    @app.consume(topic)
    async def note(value: dict) -> None:
        got.append(value)

    async with app.test() as bus:
        sound = await _sound(topic, schema)
        prefix = sound[:5] if "ends before" in reason or _has_no_header(data) else b""
        body = prefix + data
        if name in {"empty", "JSON"}:
            body = data
        await post(app, topic, body, sound)
        tracemalloc.start()
        began = time.monotonic()
        await bus.drain()
        took, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        (letter,) = bus.dead_letters(topic)
    assert letter.reason == "decode_error"
    assert reason in letter.record.detail
    assert letter.message.body == body
    assert letter.record.attempts == 0
    assert len(got) == 1
    assert peak < 10_000_000
    assert took < 10


def _has_no_header(data: bytes) -> bool:
    return not data.startswith((b"\0\0\0", b"\1" + bytes(15), b"\xc3\1", b"\3", b"{"))


async def _sound(topic: Topic, schema: dict) -> bytes:
    """A body that is what it should be."""
    value = {"next": None, "id": "x"}
    if schema is SHAPES:
        from datetime import UTC, datetime
        from decimal import Decimal

        value = {
            "choice": 1,
            "colour": "red",
            "price": Decimal("1.50"),
            "at": datetime(2026, 1, 1, tzinfo=UTC),
            "key": uuid.UUID(int=7),
            "count": 1,
            "names": ["a"],
            "ratings": {"a": 0.5},
        }
    from waybill.asking import provided

    end = asyncio.get_running_loop().time() + 10
    return await provided(lambda: topic.codec.encode(value), topic.name, end)


async def test_as_deep_as_is_allowed_is_handled() -> None:
    topic, got = Topic("nodes", dict, codec=Avro(Shelf(), schema=NODE)), []
    app = App("readers")

    @app.consume(topic)
    async def note(value: dict) -> None:
        got.append(value)

    async with app.test() as bus:
        sound = await _sound(topic, NODE)
        await post(app, topic, sound[:5] + chain(100))
        await bus.drain()
        assert not bus.dead_letters(topic)
    depth, value = 0, got[0]
    while value is not None:
        depth, value = depth + 1, value["next"]
    assert depth == 100


async def test_a_schema_of_another_type_is_a_dead_letter() -> None:
    shelf = Shelf()
    other = Topic("others", dict, codec=Avro(shelf, schema={"type": "record", "name": "Refund", "fields": []}))
    nodes, got = Topic("nodes", dict, codec=Avro(shelf, schema=NODE)), []
    app = App("readers")

    @app.consume(nodes)
    async def note(value: dict) -> None:
        got.append(value)

    async with app.test() as bus:
        await bus.publish(other, {})
        (message,) = bus.messages(other)
        await post(app, nodes, message.body)
        await bus.drain()
        (letter,) = bus.dead_letters(nodes)
    assert "it was written as Refund, and this topic carries Node" in letter.record.detail


TRAPS = {
    "an array of nulls": {"type": "array", "items": "null"},
    "an array of empty records": {"type": "array", "items": {"type": "record", "name": "E", "fields": []}},
    "an array of empty fixed": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
}


@pytest.mark.parametrize("name", TRAPS)
async def test_a_trap_of_a_writer_is_a_dead_letter(name: str) -> None:
    """Registered where nobody looks: 5 bytes of data claim 50 million items."""
    import json

    shelf, got = Shelf(), []
    fields = [{"name": "items", "type": TRAPS[name]}]
    version = shelf.put("nodes-value", json.dumps({"type": "record", "name": "Node", "fields": fields}))
    nodes = Topic("nodes", dict, codec=Avro(shelf, schema=NODE))
    app = App("readers")

    @app.consume(nodes)
    async def note(value: dict) -> None:
        got.append(value)

    async with app.test() as bus:
        await post(app, nodes, b"\0" + version.id.to_bytes(4, "big") + long_(50_000_000) + b"\0")
        await bus.drain()
        (letter,) = bus.dead_letters(nodes)
    assert "takes no bytes" in letter.record.detail


@pytest.mark.parametrize(
    "error",
    [RegistryUnavailable("down"), StoreError("500"), Forbidden("the password was changed", code=401)],
    ids=lambda error: type(error).__name__,
)
async def test_a_registry_that_does_not_answer_costs_nothing(error: Exception) -> None:
    shelf, got = Shelf(), []
    nodes = Topic("nodes", dict, codec=Avro(shelf, schema=NODE))
    app = App("readers", settings=Settings(url="memory://"))

    @app.consume(nodes)
    async def note(value: dict, delivery) -> None:
        got.append((value["id"], delivery.attempt))

    version = shelf.put(
        "nodes-value", '{"type": "record", "name": "Node", "fields": [{"name": "id", "type": "string"}]}'
    )
    shelf.put("nodes-value", '"string"')
    async with app.running():
        nodes.codec.schema  # noqa: B018 - the reader's is known without asking
        shelf.error = error
        await post(app, nodes, b"\0" + version.id.to_bytes(4, "big") + b"\2a")
        await _until(lambda: app.health().parts and app.health().parts[0].status.name != "UP")
        assert str(error) in str(app.health().parts[0].reasons)
        asked = shelf.asked["schema"]
        await _until(lambda: shelf.asked["schema"] > asked + 1)
        assert not got
        shelf.back()
        await _until(lambda: app.health().parts[0].status.name == "UP")


async def _until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)
