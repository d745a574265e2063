"""Payloads of every kind of class, for the tests of types."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar
from uuid import UUID

import msgspec
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from waybill_schema_registry.types import Fixed, Float32, Int32, Millis, Named, Precision

T = TypeVar("T")
FIVE = UUID(int=5)


@Named(namespace="shop", default_symbol="OPEN")
class Status(enum.StrEnum):
    """How far it is."""

    OPEN = "OPEN"
    PAID = "PAID"


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    quantity: int
    price: Annotated[Decimal, Precision(10, 2)]


@Named(namespace="shop", aliases=["PlacedOrder"])
@dataclass(frozen=True, slots=True)
class Order:
    """A customer has ordered."""

    id: UUID
    at: datetime
    lines: list[Line]
    status: Status = Status.OPEN
    note: str | None = None
    tags: tuple[str, ...] = ()


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Transfer(BaseModel):
    kind: Literal["transfer"] = "transfer"
    number: str


class Payment(BaseModel):
    """Money that came."""

    model_config = ConfigDict(populate_by_name=True)

    amount: Decimal = Field(max_digits=12, decimal_places=2, description="In the currency of the order.")
    by: Card | Transfer = Field(discriminator="kind")
    reference: str = Field(default="", validation_alias=AliasChoices("reference", "ref"))
    from_: str = Field(default="", alias="from")
    colour: Colour = Colour.RED


class Address(TypedDict):
    street: str
    zip: NotRequired[str]


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Reading(msgspec.Struct, rename="camel"):
    sensor_id: str
    at: Annotated[datetime, Millis()]
    value: Float32
    every: timedelta = timedelta(seconds=30)
    tags: dict[str, int] = {}


class Page(BaseModel, Generic[T]):
    """Some of many."""

    items: list[T]
    following: str | None = None


@dataclass
class Node(Generic[T]):
    value: T
    children: list[Node[T]] = field(default_factory=list)


class Tree(BaseModel):
    name: str
    left: Tree | None = None
    right: Tree | None = None


@dataclass
class Everything:
    """One of each."""

    yes: bool = True
    small: Int32 = 1
    large: int = -(2**40)
    half: Float32 = 0.5
    whole: float = 2.0
    text: str = 'a "text"'
    raw: bytes = b"\x00\xff"
    day: date = date(2024, 2, 29)
    clock: time = time(12, 30, 0, 5)
    moment: datetime = datetime(2024, 2, 29, 12, tzinfo=UTC)
    length: timedelta = timedelta(hours=-1)
    number: UUID = FIVE
    money: Annotated[Decimal, Precision(6, 2)] = Decimal("-12.5")
    kept: Annotated[Decimal, Precision(6, 2, size=4)] = Decimal("-12.5")
    digest: Annotated[bytes, Fixed(4), Named("Digest")] = b"abcd"
    unique: frozenset[str] = frozenset({"a"})
    mapped: dict[str, list[int]] = field(default_factory=dict)
    colour: Colour = Colour.BLUE
    level: Literal["low", "high"] = "high"
    nothing: None = None


ORDER = Order(
    UUID(int=1),
    datetime(2024, 1, 1, tzinfo=UTC),
    [Line("a", 1, Decimal("1.50")), Line("b", 2, Decimal(2))],
    Status.PAID,
)

VALUES: list[tuple[Any, Any]] = [
    (Order, ORDER),
    (Payment, Payment(amount=Decimal("1.50"), by=Card(number="1"), reference="r", from_="me", colour=Colour.BLUE)),
    (Payment, Payment(amount=Decimal("-99.99"), by=Transfer(number="1"))),
    (Address, {"street": "s"}),
    (Address, {"street": "s", "zip": "z"}),
    (Point, Point(1.5, 2.0)),
    (Reading, Reading("s", datetime(2024, 1, 1, 0, 0, 0, 7000, tzinfo=UTC), 0.5, timedelta(microseconds=1), {"a": 1})),
    (Page[Line], Page[Line](items=[Line("a", 1, Decimal("1.50"))], following="x")),
    (Node[int], Node(1, [Node(2), Node(3, [Node(4)])])),
    (Tree, Tree(name="a", left=Tree(name="b", right=Tree(name="c")))),
    (Everything, Everything()),
    (Everything, Everything(unique=frozenset({"b", "c"}), mapped={"a": [1, 2], "b": []}, length=timedelta(days=400))),
    (list[Order], [ORDER, ORDER]),
    (dict[str, Point], {"a": Point(1.0, 2.0)}),
    (int, 5),
    (str | None, None),
    (str | None, "x"),
    (Card | Transfer, Transfer(number="1")),
]
