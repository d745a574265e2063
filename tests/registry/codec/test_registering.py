"""What a publisher tells the registry and asks it, and what cannot be written."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from tests.registry.codec.shelf import Shelf
from waybill import App, ConfigurationError, EncodeError, PublishRefused, Refused, Topic
from waybill_schema_registry.client.registry import Registry
from waybill_schema_registry.codec import Avro, decode, encode
from waybill_schema_registry.errors import Forbidden, Incompatible
from waybill_schema_registry.types import Precision

ORDER = {"type": "record", "name": "shop.Order", "fields": [{"name": "id", "type": "string"}]}


def orders(registry: Any, schema: Any = None, **options: Any) -> Topic:
    return Topic("orders.placed", dict, codec=Avro(registry, schema=schema or ORDER, **options))


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("topic", "orders.placed-value"),
        ("record", "shop.Order"),
        ("topic-record", "orders.placed-shop.Order"),
        (lambda topic, record: f"{record}@{topic}", "shop.Order@orders.placed"),
    ],
)
def test_the_subject_is_named_as_is_wanted(subject: Any, name: str) -> None:
    shelf = Shelf()
    topic = orders(shelf, subject=subject)
    assert decode(topic, encode(topic, {"id": "a"})) == {"id": "a"}
    assert list(shelf.versions) == [name]
    assert topic.codec.subject == name


def test_it_is_registered_once() -> None:
    shelf = Shelf()
    topic = orders(shelf)
    for _ in range(3):
        assert encode(topic, {"id": "a"}) == b"\0\0\0\0\1\2a"
    assert decode(topic, b"\0\0\0\0\1\2a") == {"id": "a"}
    assert shelf.asked == {"register": 1}


def test_without_registering_it_must_be_there() -> None:
    shelf = Shelf()
    topic = orders(shelf, auto_register=False)
    with pytest.raises(EncodeError, match="Schema not found"):
        encode(topic, {"id": "a"})
    assert not shelf.versions
    encode(orders(shelf), {"id": "a"})
    assert encode(topic, {"id": "a"}) == b"\0\0\0\0\1\2a"


def test_it_may_write_as_another_version_does() -> None:
    shelf = Shelf()
    wider = ORDER | {"fields": [*ORDER["fields"], {"name": "note", "type": "string", "default": "none"}]}
    shelf.put("orders.placed-value", json.dumps(ORDER))
    shelf.put("orders.placed-value", json.dumps(wider))
    assert encode(orders(shelf, version="latest"), {"id": "a"}) == b"\0\0\0\0\2\2a\x08none"
    assert encode(orders(shelf, wider, version=1), {"id": "a", "note": "x"}) == b"\0\0\0\0\1\2a"
    with pytest.raises(EncodeError, match="no version 7"):
        encode(orders(shelf, version=7), {"id": "a"})
    shelf.put("orders.placed-value", '{"type": "record", "name": "Refund", "fields": []}')
    with pytest.raises(EncodeError, match="Refund"):
        encode(orders(shelf, version="latest"), {"id": "a"})


@pytest.mark.parametrize(
    "error", [Incompatible("READER_FIELD_MISSING_DEFAULT_VALUE"), Forbidden("read only", code=403)]
)
async def test_a_refusal_of_the_registry_is_told_at_once(error: Exception) -> None:
    shelf = Shelf()
    topic = orders(shelf)
    app = App("writers")
    async with app.test() as bus:
        shelf.error = error
        with pytest.raises(EncodeError, match=str(error)):
            await bus.publish(topic, {"id": "a"})
        (result,) = await app.publish_many(topic, [{"id": "a"}])
        assert isinstance(result, Refused)
        assert not result.transient


async def test_a_registry_that_is_down_refuses_by_the_deadline() -> None:
    shelf = Shelf()
    topic = orders(shelf)
    async with App("writers").test() as bus:
        shelf.away()
        with pytest.raises(PublishRefused, match="no answer"):
            await bus.publish(topic, {"id": "a"}, deadline=0.3)
        shelf.back()
        await bus.publish(topic, {"id": "a"})
        assert bus.published(topic) == [{"id": "a"}]


@pytest.mark.parametrize(
    "options",
    [{"subject": "none"}, {"header": "glue"}, {"version": 0}, {"version": "newest"}],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(options: dict) -> None:
    with pytest.raises(ConfigurationError):
        Avro(Shelf(), **options)


@dataclass
class Placed:
    id: str
    total: Annotated[Decimal, Precision(12, 2)]


class Small(TypedDict):
    id: str


def test_a_schema_is_for_dicts_and_types_bring_their_own() -> None:
    with pytest.raises(ConfigurationError, match="Placed"):
        Topic("orders", Placed, codec=Avro(Shelf(), schema=ORDER))
    with pytest.raises(ConfigurationError, match="give its schema"):
        Topic("orders", dict, codec=Avro(Shelf()))
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Topic("orders", dict, codec=Avro(Shelf(), schema={"type": "record"}))
    with pytest.raises(ConfigurationError, match="takes no bytes"):
        Topic("orders", dict, codec=Avro(Shelf(), schema={"type": "array", "items": "null"}))
    small = Topic("small", Small, codec=Avro(Shelf()))
    assert decode(small, encode(small, {"id": "a"})) == {"id": "a"}


def record(*fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": f"f{n}", "type": kind} for n, kind in enumerate(fields)]}


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
WRONG = [
    ("int", 2**31, "32 bits"),
    ("int", 1.5, "a whole number"),
    ("int", "1", "a whole number"),
    ("long", 2**63, "64 bits"),
    ("long", 1.5, "a whole number"),
    ("boolean", "no", "True or False"),
    ("boolean", None, "True or False"),
    ("string", b"x", "string"),
    ("string", "\ud800", "UnicodeEncodeError"),
    ("string", None, "string"),
    ("bytes", "x", "bytes"),
    (["null", "int"], 2**40, "do not match"),
    ({"type": "array", "items": "int"}, [1, 2.5], "a whole number"),
    ({"type": "map", "values": "int"}, {"a": 2**40}, "32 bits"),
    ({"type": "enum", "name": "E", "symbols": ["a"]}, "b", "'b'"),
    ({"type": "fixed", "name": "F", "size": 2}, b"abc", "length 3"),
    ({"type": "string", "logicalType": "uuid"}, "nobody", "UUID"),
    (DECIMAL, Decimal("1.234"), "cale"),
    (DECIMAL, Decimal(12345), "precision"),
    (DECIMAL, Decimal("NaN"), "cannot be written"),
]


@pytest.mark.parametrize(("kind", "value", "reason"), WRONG, ids=str)
def test_what_does_not_fit_is_refused_when_it_is_published(kind: Any, value: Any, reason: str) -> None:
    topic = orders(Shelf(), record("string", kind))
    with pytest.raises(EncodeError, match=reason):
        encode(topic, {"f0": "x", "f1": value})


def test_what_is_missing_and_what_is_no_record_is_refused() -> None:
    topic = orders(Shelf(), record("string", "int"))
    for value in ({"f0": "x"}, {"f1": 1}, [], None, "text", 7):
        with pytest.raises(EncodeError):
            encode(topic, value)


NODE = {
    "type": "record",
    "name": "Node",
    "fields": [
        {"name": "next", "type": ["null", "Node"]},
        {"name": "parts", "type": {"type": "array", "items": "Node"}},
    ],
}


@pytest.mark.parametrize("depth", [101, 5_000, 100_000])
def test_a_value_that_lies_too_deep_is_refused(depth: int) -> None:
    value: Any = {"next": None, "parts": []}
    for _ in range(depth):
        value = {"next": value, "parts": []}
    with pytest.raises(EncodeError, match="deep"):
        encode(orders(Shelf(), NODE), value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: Any = {"next": None, "parts": []}
    value["parts"].append(value)
    with pytest.raises(EncodeError, match="contain themselves"):
        encode(orders(Shelf(), NODE), value)


def test_a_value_as_deep_as_is_decoded_is_written() -> None:
    topic = orders(Shelf(), NODE)
    value: Any = {"next": None, "parts": []}
    for _ in range(99):
        value = {"next": None, "parts": [value]}
    assert decode(topic, encode(topic, value)) == value


async def test_one_registry_object_serves_types_and_topics() -> None:
    """The real engine, in memory."""
    registry = Registry("memory://")
    avro = Avro(registry)
    placed, small, got = Topic("placed", Placed, codec=avro), Topic("small", Small, codec=avro), []
    app = App("readers")

    @app.consume(placed, small)
    async def note(value: Any) -> None:
        got.append(value)

    async with app.test() as bus:
        await bus.publish(placed, Placed("a", Decimal("1.50")))
        await bus.publish(small, {"id": "b"})
        await bus.drain()
        assert sorted(await registry.get_subjects()) == ["placed-value", "small-value"]
    assert got == [Placed("a", Decimal("1.50")), {"id": "b"}]
    await registry.aclose()


@dataclass
class Broken:
    id: str
    total: Annotated[Decimal, Precision(12, 2)]
    reason: str


async def test_a_breaking_change_is_refused_when_it_is_published() -> None:
    registry = Registry("memory://")
    app = App("writers")
    async with app.test() as bus:
        await bus.publish(
            Topic("placed", Placed, codec=Avro(registry, subject=lambda topic, _: topic)), Placed("a", Decimal(1))
        )
        changed = Topic("placed", Broken, codec=Avro(registry, subject=lambda topic, _: topic))
        with pytest.raises(EncodeError, match="placed"):
            await bus.publish(changed, Broken("a", Decimal(1), "why"))
    await registry.aclose()


def test_dates_and_times_are_no_whole_numbers_and_fit() -> None:
    at = {"type": "long", "logicalType": "timestamp-millis"}
    topic = orders(Shelf(), record(at, {"type": "int", "logicalType": "date"}))
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert decode(topic, encode(topic, {"f0": moment, "f1": moment.date()})) == {"f0": moment, "f1": moment.date()}


async def test_those_who_wait_for_the_registry_keep_the_order_of_a_key() -> None:
    """Only the first of them asks, and who comes when it has answered passes nobody."""
    shelf = Shelf()
    orders = Topic("orders", dict, codec=Avro(shelf, schema=COUNTED), key=lambda _: "k")
    app = App("shop", topics=[orders])
    async with app.test() as bus, asyncio.timeout(30):
        shelf.away()
        publishing = [asyncio.create_task(app.publish(orders, {"n": n})) for n in range(20)]
        while shelf.asked["register"] < 3:
            await asyncio.sleep(0.005)
        with pytest.raises(PublishRefused, match="others wait"):
            await app.publish(orders, {"n": -1}, deadline=0.05)
        shelf.back()
        asked = shelf.asked["register"]
        while shelf.asked["register"] == asked:
            await asyncio.sleep(0)
        publishing += [asyncio.create_task(app.publish(orders, {"n": n})) for n in range(20, 25)]
        await asyncio.gather(*publishing)
        assert [value["n"] for value in bus.published(orders)] == list(range(25))
        assert shelf.asked["register"] == asked + 1


COUNTED = {"type": "record", "name": "Counted", "fields": [{"name": "n", "type": "int"}]}
