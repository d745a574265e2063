"""A value that was written with one schema and is read with another."""

from __future__ import annotations

import enum
from dataclasses import make_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, create_model

from tests.registry.codec.shelf import Shelf
from waybill import DecodeError, Topic
from waybill_schema_registry.codec import Avro, decode, encode
from waybill_schema_registry.types import Millis, Named, Precision

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
MICROS = 1767323045678000
MONEY = Annotated[Decimal, Precision(8, 2)]


class Card(BaseModel):
    number: int


class Cash(BaseModel):
    currency: str


class Old(enum.Enum):
    PAID = "PAID"
    SENT = "SENT"


@Named("Old", default_symbol="PAID")
class New(enum.Enum):
    PAID = "PAID"
    LOST = "LOST"


CHANGES: list[tuple[Any, Any, Any, Any]] = [
    (Card, Card | None, Card(number=1), Card(number=1)),
    (Card | None, Card, Card(number=1), Card(number=1)),
    (Card | Cash, Cash | Card | None, Card(number=1), Card(number=1)),
    (Card | Cash, Cash, Cash(currency="EUR"), Cash(currency="EUR")),
    (list[Card | None], list[Card], [Card(number=1)], [Card(number=1)]),
    (Old, New, Old.SENT, New.PAID),
    (Old | None, New, Old.PAID, New.PAID),
    (Old, New | None, Old.SENT, New.PAID),
    (int, float | int, 5, 5),
    (int, float, 5, 5.0),
    (str, bytes | str, "a", "a"),
    (str, bytes, "a", b"a"),
    (UUID, str, UUID(int=5), str(UUID(int=5))),
    (str, UUID, str(UUID(int=5)), UUID(int=5)),
    (UUID | None, str | None, UUID(int=5), str(UUID(int=5))),
    (datetime, int, NOW, MICROS),
    (int, datetime, MICROS, NOW),
    (int | None, datetime | None, MICROS, NOW),
    (int, Annotated[datetime, Millis()], MICROS // 1000, NOW),
    (datetime, Annotated[datetime, Millis()], NOW, NOW),
    (date, int, date(1970, 1, 8), 7),
    (date, float, date(1970, 1, 8), 7.0),
    (int, timedelta, 7, timedelta(microseconds=7)),
    (MONEY, Annotated[Decimal, Precision(12, 4)], Decimal("1.25"), Decimal("1.25")),
    (MONEY, bytes, Decimal("1.25"), b"\x7d"),
    (bytes, MONEY, b"\x7d", Decimal("1.25")),
]


def test_what_an_old_type_wrote_is_what_the_new_one_says() -> None:
    wrong: list[str] = []
    for old, new, value, wanted in CHANGES:
        for make in (
            lambda kind: create_model("Paid", x=(kind, ...)),
            lambda kind: make_dataclass("Paid", [("x", kind)]),
        ):
            avro = Avro(Shelf())
            writer, reader = (Topic("orders", make(kind), codec=avro) for kind in (old, new))
            try:
                found = decode(reader, encode(writer, writer.payload(x=value))).x
            except DecodeError as error:
                found = error
            if type(found) is not type(wanted) or found != wanted:
                wrong.append(f"{old} → {new}: {found!r}")
    assert not wrong


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


def resolved(written: Any, wanted: Any, value: Any) -> Any:
    avro = Shelf()
    writer, reader = (Topic("orders", dict, codec=Avro(avro, schema=schema)) for schema in (written, wanted))
    return decode(reader, encode(writer, value))


def test_a_type_may_be_described_here_and_called_by_its_name_there() -> None:
    inner = record("shop.Inner", n="int")
    first, second = ["null", inner], ["null", "shop.Inner"]
    value = {"a": {"n": 1}, "b": {"n": 2}}
    described_later = {
        "type": "record",
        "name": "shop.Order",
        "fields": [{"name": "b", "type": first}, {"name": "a", "type": ["string", "shop.Inner", "null"]}],
    }
    assert resolved(record("shop.Order", a=first, b=second), described_later, value) == value
    assert resolved(described_later, record("shop.Order", a=first, b=second), value) == value


def test_a_record_that_contains_itself_is_followed_down() -> None:
    node = record("Node", n="int", next=["null", "Node"])
    wider = {**record("Node", next=["Node", "null"], n="long"), "aliases": []}
    wider["fields"].append({"name": "tags", "type": {"type": "array", "items": "string"}, "default": []})
    found = resolved(node, wider, {"n": 1, "next": {"n": 2, "next": None}})
    assert found == {"n": 1, "tags": [], "next": {"n": 2, "tags": [], "next": None}}
    assert found["tags"] is not found["next"]["tags"]


def test_what_does_not_go_together_is_refused_only_where_it_is_met() -> None:
    written = record("Order", x=["int", {"type": "array", "items": "string"}])
    assert resolved(written, record("Order", x="long"), {"x": 3}) == {"x": 3}
    with pytest.raises(DecodeError, match="array was written, which cannot be read as long"):
        resolved(written, record("Order", x="long"), {"x": ["a"]})


@pytest.mark.parametrize(("size", "reason"), [(100_000, "more than 64 bytes"), (60, "more digits than its precision")])
def test_bytes_that_are_a_decimal_to_the_reader_are_looked_at_before_they_are_counted(size: int, reason: str) -> None:
    money = {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}
    with pytest.raises(DecodeError, match=reason):
        resolved(record("Order", x="bytes"), record("Order", x=money), {"x": b"\x7f" * size})
