"""Old readers and new writers, every header there is, and what is kept of what was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from dataclasses import dataclass, field

import pytest

from tests.registry.codec.posting import long_, post, text
from tests.registry.codec.shelf import Shelf
from waybill import App, CodecUnavailable, ConfigurationError, DecodeError, Topic
from waybill.codec import Lacking
from waybill_schema_registry.codec import Avro, Limits, decode, encode
from waybill_schema_registry.codec.kept import Kept
from waybill_schema_registry.entities import Reference
from waybill_schema_registry.errors import Forbidden, NotFound
from waybill_schema_registry.formats.avro.parsing import parse

ORDER = {"type": "record", "name": "shop.Order", "fields": [{"name": "id", "type": "string"}]}
WIDER = {
    "type": "record",
    "name": "shop.Order",
    "fields": [
        {"name": "count", "type": "int"},
        {"name": "id", "type": "string"},
        {"name": "extra", "type": ["null", "string"]},
    ],
}


@dataclass
class Order:
    id: str
    tags: list[str] = field(default_factory=list)
    count: int = 1


def registered(shelf: Shelf, schema: object, subject: str = "orders-value", **more) -> bytes:
    """The prefix of those who write with it."""
    return b"\0" + shelf.put(subject, json.dumps(schema), **more).id.to_bytes(4, "big")


def test_an_old_reader_reads_a_new_writer_and_the_other_way_round() -> None:
    shelf = Shelf()
    old, new = (Topic("orders", dict, codec=Avro(shelf, schema=schema)) for schema in (ORDER, WIDER))
    assert decode(old, encode(new, {"count": 1, "id": "a", "extra": "b"})) == {"id": "a"}
    with pytest.raises(DecodeError, match="without count, which has no default"):
        decode(new, encode(old, {"id": "a"}))


def test_what_the_payload_type_adds_has_its_default() -> None:
    shelf = Shelf()
    orders = Topic("orders", Order, codec=Avro(shelf, namespace="shop"))
    one, two = (decode(orders, registered(shelf, ORDER) + text(name)) for name in "ab")
    assert one == Order("a", [], 1)
    one.tags.append("mine")
    assert two.tags == []
    assert decode(orders, registered(shelf, ORDER) + text("c")).tags == []


def test_defaults_are_values_and_nobody_shares_them() -> None:
    shelf = Shelf()
    fields = [
        {"name": "id", "type": "string"},
        {"name": "raw", "type": "bytes", "default": "\u00ff"},
        {"name": "at", "type": {"type": "int", "logicalType": "date"}, "default": 0},
        {"name": "names", "type": {"type": "array", "items": "string"}, "default": ["x"]},
        {"name": "inner", "type": {"type": "record", "name": "I", "fields": [{"name": "n", "type": "int", "default": 3}]}, "default": {}},
        {"name": "maybe", "type": ["null", "int"], "default": None},
    ]  # fmt: skip
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER | {"fields": fields}))
    body = registered(shelf, ORDER) + text("a")
    first = decode(orders, body)
    assert first["raw"] == b"\xff"
    assert str(first["at"]) == "1970-01-01"
    assert first["inner"] == {"n": 3}
    first["names"].append("spoiled")
    first["inner"]["n"] = 9
    assert decode(orders, body)["names"] == ["x"]
    assert decode(orders, body)["inner"] == {"n": 3}


HEADERS = ["id", "guid", "fingerprint"]


@pytest.mark.parametrize("header", HEADERS)
def test_every_header_is_read_whatever_one_writes_itself(header: str) -> None:
    shelf = Shelf()
    writer, reader = (Topic("orders", dict, codec=Avro(shelf, schema=ORDER, header=h)) for h in (header, "id"))
    body = encode(writer, {"id": "a"})
    (version,) = shelf.versions["orders-value"]
    assert body == {
        "id": b"\0" + version.id.to_bytes(4, "big"),
        "guid": b"\1" + uuid.UUID(version.guid).bytes,
        "fingerprint": b"\xc3\1" + parse(ORDER).fingerprint.to_bytes(8, "little"),
    }[header] + text("a")
    assert decode(reader, body) == {"id": "a"}
    assert decode(reader, body) == {"id": "a"}
    assert shelf.asked["schema"] + shelf.asked["guid"] + shelf.asked["versions"] == 1


@pytest.mark.parametrize("form", ["text", "bytes", "as a broker shows bytes"])
async def test_the_guid_may_stand_in_a_header_of_the_message(form: str) -> None:
    """Confluent's clients put 01 and 16 bytes there, which a broker shows as text as well as it can."""
    shelf, got = Shelf(), []
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    guid = uuid.UUID(shelf.put("orders-value", json.dumps(WIDER)).guid)
    raw = b"\1" + guid.bytes
    value = {
        "text": str(guid),
        "bytes": raw.decode("utf-8", "surrogateescape"),
        "as a broker shows bytes": raw.decode("utf-8", "backslashreplace"),
    }[form]
    app = App("readers")

    @app.consume(orders)
    async def note(value: dict) -> None:
        got.append(value)

    from waybill.message import Message

    data = long_(3) + text("a") + b"\0"
    from datetime import UTC, datetime

    message = Message(
        id="1", body=data, type="orders", source="", time=datetime.now(UTC), headers={"__value_schema_id": value}
    )
    with pytest.raises(Lacking) as lacking:
        orders.decode(message)
    await lacking.value.fetch()
    assert orders.decode(message) == {"id": "a"}
    if form == "text":
        async with app.test() as bus:
            await post(app, orders, data, headers={"__value_schema_id": value})
            await bus.drain()
        assert got == [{"id": "a"}]


async def test_a_header_that_holds_no_guid_is_refused() -> None:
    orders, got = Topic("orders", dict, codec=Avro(Shelf(), schema=ORDER)), []
    app = App("readers")
    app.consume(orders)(_noting(got))
    async with app.test() as bus:
        await post(app, orders, b"\2a", headers={"__value_schema_id": "nobody"})
        await bus.drain()
        assert "holds no GUID" in bus.dead_letters(orders)[0].record.detail


def _noting(got: list):
    async def note(value: dict) -> None:
        got.append(value)

    return note


def test_a_block_that_says_its_size_is_read() -> None:
    shelf = Shelf()
    schema = {"type": "record", "name": "R", "fields": [{"name": "n", "type": {"type": "array", "items": "long"}}]}
    things = Topic("things", dict, codec=Avro(shelf, schema=schema))
    prefix = encode(things, {"n": []})[:5]
    assert decode(things, prefix + long_(-2) + long_(3) + b"\2" + long_(300) + b"\2\4\0") == {"n": [1, 300, 2]}


def test_a_record_may_be_renamed_with_an_alias() -> None:
    shelf = Shelf()
    body = registered(shelf, ORDER) + text("a")
    renamed = {"type": "record", "name": "shop.Purchase", "fields": ORDER["fields"]}
    with pytest.raises(DecodeError, match=r"give shop\.Purchase the alias shop\.Order"):
        decode(Topic("orders", dict, codec=Avro(shelf, schema=renamed)), body)
    assert decode(Topic("orders", dict, codec=Avro(shelf, schema=renamed | {"aliases": ["Order"]})), body) == {
        "id": "a"
    }
    moved = {"type": "record", "name": "store.Order", "fields": ORDER["fields"]}
    assert decode(Topic("orders", dict, codec=Avro(shelf, schema=moved)), body) == {"id": "a"}


def test_a_schema_may_refer_to_others() -> None:
    shelf = Shelf()
    shelf.put(
        "money-value", json.dumps({"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]})
    )
    line = {"type": "record", "name": "Line", "fields": [{"name": "price", "type": "Money"}]}
    money = Reference(name="Money", subject="money-value", version=1)
    shelf.put("line-value", json.dumps(line), references=(money,))
    prefix = registered(
        shelf,
        {"type": "record", "name": "R", "fields": [{"name": "line", "type": "Line"}, {"name": "fee", "type": "Money"}]},
        references=(Reference(name="Line", subject="line-value", version=1), money),
    )
    own = {"type": "record", "name": "R", "fields": [{"name": "fee", "type": {"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]}}]}  # fmt: skip
    assert decode(Topic("things", dict, codec=Avro(shelf, schema=own)), prefix + b"\2\4") == {"fee": {"cents": 2}}


@pytest.mark.parametrize(
    ("text_", "more", "reason"),
    [
        ("{", {}, "cannot be used"),
        ("syntax = 'proto3';", {"format": "PROTOBUF"}, "PROTOBUF"),
        ('"NoSuchType"', {}, "cannot be used"),
        ('{"type": "record", "name": "../../etc/passwd", "fields": []}', {}, "which is none"),
        ('{"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}', {}, "always contains itself"),
        ('["null", ' + "[" * 3000 + "]" * 3000 + "]", {}, "cannot be used"),
        (
            json.dumps({"type": "fixed", "name": "F", "size": 70, "logicalType": "decimal", "precision": 9}),
            {},
            "decimal",
        ),
    ],
    ids=range(7),
)
def test_a_schema_that_nobody_should_decode_with_is_refused(text_: str, more: dict, reason: str) -> None:
    shelf = Shelf()
    version = shelf.put("orders-value", text_, **more)
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    with pytest.raises(DecodeError, match=reason):
        decode(orders, b"\0" + version.id.to_bytes(4, "big") + b"\2a")


def test_references_that_lead_in_a_circle_end() -> None:
    shelf = Shelf()
    me = Reference(name="R", subject="orders-value", version=1)
    prefix = registered(shelf, {"type": "record", "name": "R", "fields": []}, references=(me,))
    orders = Topic("orders", dict, codec=Avro(shelf, schema={"type": "record", "name": "R", "fields": []}))
    with contextlib.suppress(DecodeError):
        decode(orders, prefix)


def test_limits_are_the_users() -> None:
    shelf = Shelf()
    list_ = {"type": "record", "name": "L", "fields": [{"name": "n", "type": {"type": "array", "items": "boolean"}}]}
    free, bound = (
        Topic("lists", dict, codec=Avro(shelf, schema=list_, limits=limits)) for limits in (None, Limits(items=10))
    )
    small = Topic("lists", dict, codec=Avro(shelf, schema=list_, limits=Limits(body=50)))
    body = encode(free, {"n": [True] * 100})
    assert len(decode(free, body)["n"]) == 100
    with pytest.raises(DecodeError, match="more than 10 items"):
        decode(bound, body)
    with pytest.raises(DecodeError, match="no more than 50"):
        decode(small, body)
    with pytest.raises(Exception, match="no more than 50"):
        encode(small, {"n": [True] * 100})
    for wrong in ({"body": 0}, {"depth": 5000}, {"items": 1.5}, {"decimal": True}):
        with pytest.raises(ConfigurationError):
            Limits(**wrong)


def test_fields_that_take_no_bytes_count_as_well() -> None:
    """A record of 1,000 nulls and a boolean: 36 KB of memory for one byte."""
    shelf = Shelf()
    fields = [{"name": f"n{n}", "type": "null"} for n in range(1000)] + [{"name": "b", "type": "boolean"}]
    items = {"type": "array", "items": {"type": "record", "name": "Wide", "fields": fields}}
    prefix = registered(shelf, {"type": "record", "name": "L", "fields": [{"name": "n", "type": items}]})
    lists = Topic(
        "lists",
        dict,
        codec=Avro(shelf, schema={"type": "record", "name": "L", "fields": [{"name": "n", "type": items}]}),
    )
    assert len(decode(lists, prefix + long_(100) + b"\1" * 100 + b"\0")["n"]) == 100
    with pytest.raises(DecodeError, match="items"):
        decode(lists, prefix + long_(900_000) + b"\1" * 900_000 + b"\0")


def test_records_within_records_that_take_no_bytes_do_not_double_for_ever() -> None:
    """Each record holds the next one twice: 2^40 empty ones, in no bytes at all."""
    levels = [
        {"type": "record", "name": f"L{n}", "fields": [{"name": x, "type": f"L{n + 1}"} for x in "ab"]}
        for n in range(40)
    ]
    schema = {"type": "record", "name": "L40", "fields": []}
    for level in reversed(levels):
        level["fields"][0]["type"] = schema
        schema = level
    shelf = Shelf()
    prefix = registered(shelf, schema)
    with pytest.raises(DecodeError, match="take no bytes"):
        decode(Topic("levels", dict, codec=Avro(shelf, schema={"type": "record", "name": "L0", "fields": []})), prefix)


async def test_many_that_want_one_schema_ask_once() -> None:
    shelf, got = Shelf(), []
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    app = App("readers")
    app.consume(orders, concurrency=20)(_noting(got))
    body = registered(shelf, WIDER) + long_(3) + text("a") + b"\0"
    async with app.test() as bus:
        await post(app, orders, *[body] * 50)
        await bus.drain()
    assert got == [{"id": "a"}] * 50
    assert shelf.asked["schema"] == 1


async def test_who_gives_up_does_not_take_the_answer_from_others() -> None:
    shelf = Shelf()
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    body = registered(shelf, ORDER) + text("a")
    gate, ask = asyncio.Event(), shelf.get_schema

    async def slow(schema_id, subject=None):
        await gate.wait()
        return await ask(schema_id, subject)

    shelf.get_schema = slow
    fetches = []
    for _ in range(2):
        with pytest.raises(Lacking) as lacking:
            orders.codec.decode(body)
        fetches.append(asyncio.ensure_future(lacking.value.fetch()))
    await asyncio.sleep(0)
    fetches[0].cancel()
    gate.set()
    await fetches[1]
    assert orders.codec.decode(body) == {"id": "a"}
    assert shelf.asked["schema"] == 1


def test_what_is_kept_is_bounded() -> None:
    kept: Kept[int, str] = Kept(3, 100)
    for number in range(10):
        kept.keep(number, "x", 10)
    assert [number for number in range(10) if kept.get(number)] == [7, 8, 9]
    kept.get(7)
    kept.keep(10, "x", 10)
    assert kept.get(7)
    assert not kept.get(8)
    kept.keep(11, "large", 1000)
    assert len(kept) == 1
    assert kept.get(11) == "large"


def test_more_writers_than_are_kept_are_read_all_the_same() -> None:
    shelf = Shelf()
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    for turn in range(2):
        for number in range(300):
            fields = [*ORDER["fields"], {"name": f"f{number}", "type": "int"}]
            body = registered(shelf, ORDER | {"fields": fields}) + text("a") + b"\2"
            assert decode(orders, body) == {"id": "a"}, turn
    assert len(orders.codec._reads) <= 256


def test_large_schemas_of_writers_do_not_heap_up() -> None:
    shelf = Shelf()
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    for number in range(6):
        prefix = registered(shelf, {**ORDER, "doc": f"{number}" * 1_000_000})
        assert decode(orders, prefix + text("a")) == {"id": "a"}
    assert len(orders.codec._reads) == 4


async def test_what_will_never_work_is_told_when_it_starts() -> None:
    shelf = Shelf()
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    app = App("readers", topics=[orders])
    shelf.error = Forbidden("wrong password", code=401)
    with pytest.raises(ConfigurationError, match="wrong password"):
        async with app.test():
            pass
    shelf.away()
    async with app.test():
        pass


async def test_an_unknown_id_is_asked_for_again_when_it_comes_again() -> None:
    shelf = Shelf()
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    body = b"\0\0\0\0\1" + text("a")
    with pytest.raises(Lacking) as lacking:
        orders.codec.decode(body)
    with pytest.raises(DecodeError, match="has no schema 1"):
        await lacking.value.fetch()
    registered(shelf, ORDER)
    with pytest.raises(Lacking) as lacking:
        orders.codec.decode(body)
    await lacking.value.fetch()
    assert orders.codec.decode(body) == {"id": "a"}


def test_a_script_is_told_that_the_registry_is_down() -> None:
    shelf = Shelf()
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    shelf.away()
    with pytest.raises(CodecUnavailable, match="no answer"):
        encode(orders, {"id": "a"})
    shelf.error = NotFound("no such id")
    with pytest.raises(DecodeError, match="no such id"):
        decode(orders, b"\0\0\0\0\1")


async def test_a_script_is_no_asynchronous_code() -> None:
    orders = Topic("orders", dict, codec=Avro(Shelf(), schema=ORDER))
    with pytest.raises(ConfigurationError, match="asynchronous"):
        encode(orders, {"id": "a"})
