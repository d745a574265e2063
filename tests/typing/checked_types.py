"""Types of Avro: what they infer, and what they refuse. Checked, never run (see test_typing.py)."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel
from typing_extensions import TypedDict

from waybill_schema_registry.types import Int32, Named, Precision, avro_type

if TYPE_CHECKING:
    from typing import reveal_type


@Named(namespace="shop", aliases=["Old"])
@dataclass(frozen=True, slots=True)
class Order:
    order_id: str
    pieces: Int32
    total: Annotated[Decimal, Precision(9, 2)]


@Named(namespace="shop")
class Model(BaseModel):
    name: str


@Named(default_symbol="OPEN")
class Status(StrEnum):
    OPEN = "OPEN"


@Named("Other")
class Keys(TypedDict):
    name: str


reveal_type(Order("o1", 1, Decimal(1)))  # reveal: Order
reveal_type(avro_type(Order))  # reveal: AvroType[Order]
reveal_type(avro_type(Model).from_datum({"name": "x"}))  # reveal: Model
reveal_type(avro_type(Keys).from_datum({"name": "x"})["name"])  # reveal: str
avro_type(Order).to_datum(Order("o1", 1, Decimal(1)))

avro_type(Order).to_datum(Model(name="x"))  # error
Order("o1", "1", Decimal(1))  # error
Named(namespace=1)  # error
