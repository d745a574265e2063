"""What the types of Python are in Avro."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar
from uuid import UUID

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from tests.registry.types.payloads import Address, Everything, Node, Order, Page, Payment, Point, Reading, Tree
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.types import (
    Aliases,
    Default,
    Fixed,
    Float32,
    Int32,
    Logical,
    Millis,
    Named,
    Precision,
    avro_schema,
)

T = TypeVar("T")


@dataclass
class Limits:
    most: int = 5


@dataclass
class Rope(Generic[T]):
    value: T


Knot = Rope
Sku = NewType("Sku", str)
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}


def named(of: Any) -> dict[str, Any]:
    """A record's fields, by name."""
    return {field["name"]: {k: v for k, v in field.items() if k != "name"} for field in avro_schema(of)["fields"]}


def test_types_that_contain_no_other() -> None:
    logical = {
        date: ("int", "date"),
        time: ("long", "time-micros"),
        Annotated[time, Millis()]: ("int", "time-millis"),
        datetime: ("long", "timestamp-micros"),
        pydantic.AwareDatetime: ("long", "timestamp-micros"),
        pydantic.NaiveDatetime: ("long", "local-timestamp-micros"),
        Annotated[datetime, Millis()]: ("long", "timestamp-millis"),
        Annotated[pydantic.NaiveDatetime, Millis()]: ("long", "local-timestamp-millis"),
        timedelta: ("long", "timedelta-micros"),
        UUID: ("string", "uuid"),
        Annotated[int, Logical("timestamp-nanos")]: ("long", "timestamp-nanos"),
    }
    for of, (kind, name) in logical.items():
        assert avro_schema(of) == {"type": kind, "logicalType": name}, of
    plain = {
        None: "null",
        bool: "boolean",
        int: "long",
        Int32: "int",
        pydantic.PositiveInt: "long",
        float: "double",
        Float32: "float",
        str: "string",
        Sku: "string",
        IPv4Address: "string",
        pydantic.AnyUrl: "string",
        bytes: "bytes",
        Literal[1, 2]: "long",
        Literal["in-transit", "lost"]: "string",
    }
    for of, kind in plain.items():
        assert avro_schema(of) == kind, of


def test_decimals() -> None:
    assert avro_schema(Annotated[Decimal, Precision(10, 2)]) == DECIMAL
    assert avro_schema(Annotated[Decimal, Field(max_digits=10, decimal_places=2)]) == DECIMAL
    assert avro_schema(pydantic.condecimal(max_digits=10, decimal_places=2)) == DECIMAL
    assert avro_schema(list[Annotated[Decimal, Precision(3)]])["items"] == {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": 3,
    }
    assert avro_schema(Annotated[Decimal, Precision(9, 2, size=4), Named("Money", namespace="shop")]) == {
        "type": "fixed",
        "name": "Money",
        "namespace": "shop",
        "logicalType": "decimal",
        "precision": 9,
        "scale": 2,
        "size": 4,
    }


def test_what_stands_beside_an_optional_type_is_said_of_the_type() -> None:
    class Model(BaseModel):
        total: Decimal | None = Field(default=None, max_digits=10, decimal_places=2)
        at: Annotated[datetime | None, Millis()] = None
        nanos: Annotated[int | None, Logical("timestamp-nanos")] = None

    assert [field["type"] for field in avro_schema(Model)["fields"]] == [
        ["null", DECIMAL],
        ["null", {"type": "long", "logicalType": "timestamp-millis"}],
        ["null", {"type": "long", "logicalType": "timestamp-nanos"}],
    ]


def test_collections() -> None:
    for of in (list[int], tuple[int, ...], set[int], frozenset[int], Sequence[int]):
        assert avro_schema(of) == {"type": "array", "items": "long"}, of
    for of in (dict[str, bool], Mapping[str, bool]):
        assert avro_schema(of) == {"type": "map", "values": "boolean"}, of


def test_a_dataclass() -> None:
    """Its enum has a default for symbols that readers do not know; null comes first where it is the default."""
    assert avro_schema(Order) == {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "doc": "A customer has ordered.",
        "aliases": ["PlacedOrder"],
        "fields": [
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {
                "name": "lines",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Line",
                        "fields": [
                            {"name": "sku", "type": "string"},
                            {"name": "quantity", "type": "long"},
                            {"name": "price", "type": DECIMAL},
                        ],
                    },
                },
            },
            {
                "name": "status",
                "type": {
                    "type": "enum",
                    "name": "Status",
                    "doc": "How far it is.",
                    "symbols": ["OPEN", "PAID"],
                    "default": "OPEN",
                },
                "default": "OPEN",
            },
            {"name": "note", "type": ["null", "string"], "default": None},
            {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        ],
    }


def test_a_model_says_its_docs_its_names_and_those_it_had() -> None:
    fields = named(Payment)
    assert fields["amount"]["doc"] == "In the currency of the order."
    assert fields["amount"]["type"]["precision"] == 12
    assert fields["reference"] == {"aliases": ["ref"], "type": "string", "default": ""}
    assert fields["from"] == {"type": "string", "default": ""}
    assert [branch["name"] for branch in fields["by"]["type"]] == ["Card", "Transfer"]
    assert fields["colour"]["type"]["symbols"] == ["RED", "BLUE"]
    assert fields["colour"]["default"] == "RED"


def test_an_alias_generator_names_the_fields() -> None:
    class Model(BaseModel):
        model_config = ConfigDict(alias_generator=to_camel)
        order_id: int

    assert list(named(Model)) == ["orderId"]


def test_other_kinds_of_classes() -> None:
    assert named(Address) == {"street": {"type": "string"}, "zip": {"type": ["null", "string"], "default": None}}
    assert named(Point) == {"x": {"type": "double"}, "y": {"type": "double", "default": 0.0}}
    assert named(Reading) == {
        "sensorId": {"type": "string"},
        "at": {"type": {"type": "long", "logicalType": "timestamp-millis"}},
        "value": {"type": "float"},
        "every": {"type": {"type": "long", "logicalType": "timedelta-micros"}, "default": 30_000_000},
        "tags": {"type": {"type": "map", "values": "long"}, "default": {}},
    }


def test_generic_and_recursive_types_have_names() -> None:
    assert avro_schema(Page[Order])["name"] == "Page_Order"
    assert avro_schema(Page[Order])["doc"] == "Some of many."
    assert avro_schema(Page[dict[str, int]])["name"] == "Page_dict_str_int"
    assert avro_schema(Node[int])["name"] == "Node_int"
    assert avro_schema(Named("Knot", namespace="shop")(Knot)[int])["name"] == "Knot_int"
    assert named(Node[int])["children"] == {"type": {"type": "array", "items": "Node_int"}, "default": []}
    assert named(Tree)["left"] == {"type": ["null", "Tree"], "default": None}


def test_defaults_are_avros() -> None:
    defaults = {name: field["default"] for name, field in named(Everything).items()}
    assert defaults == {
        "yes": True,
        "small": 1,
        "large": -(2**40),
        "half": 0.5,
        "whole": 2.0,
        "text": 'a "text"',
        "raw": "\x00\xff",
        "day": 19782,
        "clock": 45_000_000_005,
        "moment": 1_709_208_000_000_000,
        "length": -3_600_000_000,
        "number": "00000000-0000-0000-0000-000000000005",
        "money": "\xfb\x1e",
        "kept": "\xff\xff\xfb\x1e",
        "digest": "abcd",
        "unique": ["a"],
        "mapped": {},
        "colour": "BLUE",
        "level": "high",
        "nothing": None,
    }
    parse(avro_schema(Everything), strict=True)


def test_the_branch_of_the_default_comes_first_and_the_others_stay() -> None:
    @dataclass
    class Choices:
        plain: int | str | None
        text: int | str | None = "x"
        null: int | str | None = None

    assert [field["type"] for field in avro_schema(Choices)["fields"]] == [
        ["long", "string", "null"],
        ["string", "long", "null"],
        ["null", "long", "string"],
    ]


def test_defaults_that_are_made_anew() -> None:
    """An empty list is always the same, and a record of defaults is; a new id is not."""

    @dataclass
    class Model:
        empty: list[int] = field(default_factory=list)
        limits: Limits = field(default_factory=Limits)
        given: Annotated[list[int], Default([1])] = field(default_factory=lambda: [1])
        anew: str = field(default_factory=lambda: "x")

    found = {name: field.get("default", "none") for name, field in named(Model).items()}
    assert found == {"empty": [], "limits": {"most": 5}, "given": [1], "anew": "none"}


def test_namespaces() -> None:
    """A class's own, else that of the payload, else the one that is asked for, else none: never the module's."""

    class Inner(BaseModel):
        pass

    @Named(namespace="eu")
    class Outer(BaseModel):
        first: Inner
        again: Inner

    assert avro_schema(Inner)["name"] == "Inner"
    assert "namespace" not in avro_schema(Inner)
    assert avro_schema(Inner, namespace="shop")["namespace"] == "shop"
    outer = avro_schema(Outer, namespace="shop")
    assert outer["namespace"] == "eu"
    assert outer["fields"][0]["type"] == {"type": "record", "name": "Inner", "fields": []}
    assert outer["fields"][1]["type"] == "Inner"


def test_a_subclass_has_its_own_name_and_the_namespace_of_its_base() -> None:
    @Named("Base", namespace="eu", aliases=["Old"])
    class One(BaseModel):
        pass

    class Two(One):
        pass

    assert avro_schema(Two) == {"type": "record", "name": "Two", "namespace": "eu", "fields": []}


def test_types_without_a_class_are_named_after_their_field() -> None:
    @dataclass
    class Parcel:
        current_state: Literal["SENT", "LOST"] | None
        digest: Annotated[bytes, Fixed(16)]
        size: Annotated[Literal["S", "L"], Named("Size", namespace="shop", default_symbol="S")]
        left: Literal["SENT"] | Literal["LOST"]  # noqa: PYI030 - the same in other words

    found = named(Parcel)
    assert found["current_state"]["type"][0] == {
        "type": "enum",
        "name": "ParcelCurrentState",
        "symbols": ["SENT", "LOST"],
    }
    assert found["digest"]["type"] == {"type": "fixed", "name": "ParcelDigest", "size": 16}
    assert found["size"]["type"] == {
        "type": "enum",
        "name": "Size",
        "namespace": "shop",
        "symbols": ["S", "L"],
        "default": "S",
    }
    assert found["left"]["type"]["symbols"] == ["SENT", "LOST"]


def test_enums_by_their_values_where_these_are_texts_else_by_their_names() -> None:
    class Texts(enum.Enum):
        ONE = "one"
        UNO = "one"  # noqa: PIE796 - an alias
        TWO = "two"

    class Numbers(enum.Enum):
        ONE = 1
        TWO = "two"

    assert avro_schema(Texts)["symbols"] == ["one", "two"]
    assert avro_schema(Numbers)["symbols"] == ["ONE", "TWO"]


def test_aliases_of_fields() -> None:
    Model = make_dataclass("Model", [("a", Annotated[int, Aliases("b", "c")])])  # noqa: N806 - a class
    assert named(Model)["a"]["aliases"] == ["b", "c"]


def test_what_is_excluded_is_not_written() -> None:
    class Model(BaseModel):
        kept: int
        cache: int = Field(default=0, exclude=True)

    assert list(named(Model)) == ["kept"]


def test_typed_dicts_with_total_false() -> None:
    Part = TypedDict("Part", {"a": int}, total=False)  # noqa: UP013 - said in words
    assert named(Part) == {"a": {"type": ["null", "long"], "default": None}}


def test_every_schema_is_one_that_the_registry_takes() -> None:
    for of in (Order, Payment, Address, Point, Reading, Page[Order], Node[str], Tree, Everything):
        parse(avro_schema(of), strict=True)


def test_a_default_of_a_moment_is_the_same_in_every_zone() -> None:
    @dataclass
    class Model:
        at: datetime = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)

    assert named(Model)["at"]["default"] == 1_000_000
