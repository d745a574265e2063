"""Topics and policies: what they infer, and what they refuse. Checked, never run (see test_typing.py)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
from pydantic import BaseModel

from waybill import App, Retry, Settings, Topic

if TYPE_CHECKING:
    from typing import reveal_type


@dataclass
class Order:
    order_id: str
    number: int


class Model(BaseModel):
    name: str


class Struct(msgspec.Struct):
    name: str


def by_customer(order: Order) -> str:
    return order.order_id


def by_text(text: str) -> str:
    return text


reveal_type(Topic("orders", Order))  # reveal: Topic[Order]
reveal_type(Topic("orders", Order, key=lambda order: order.order_id))  # reveal: Topic[Order]
reveal_type(Topic("models", Model, key=lambda model: model.name))  # reveal: Topic[Model]
reveal_type(Topic("structs", Struct, key=lambda struct: struct.name))  # reveal: Topic[Struct]
reveal_type(Topic("raw", bytes))  # reveal: Topic[bytes]
Topic("orders", Order, key=by_customer, groups=["billing"])
Topic("orders", Order, key=lambda order: order.order_id or None)

Topic("orders", Order, key=by_text)  # error
Topic("orders", Order, key=lambda order: order.number)  # error
Topic("orders", Order, key=lambda order: order.customer)  # error
Topic("orders", Order, key="order_id")  # error
Topic("orders", Order, keys=by_customer)  # error
Topic("orders", Order, by_customer)  # error
Topic("orders")  # error
Topic(Order, "orders")  # error
Topic("orders", Order, groups=7)  # error

reveal_type(Retry.exponential(5, first=1.0, cap=timedelta(minutes=1)))  # reveal: Retry
Retry.fixed(3, delay=2, never=[ValueError, LookupError], per={TimeoutError: Retry.none()})

Retry.exponential("5")  # error
Retry.exponential(5, 1.0)  # error
Retry.exponential(5, firts=1.0)  # error
Retry.exponential(5, first="1s")  # error
Retry.fixed(3)  # error
Retry.fixed(3, delay=1, never=ValueError)  # error
Retry.fixed(3, delay=1, never=[1])  # error
Retry.fixed(3, delay=1, per={ValueError: 3})  # error
Retry.none(1)  # error

App("billing", settings=Settings(url="memory://"))
App()  # error
App("billing", setting=Settings())  # error
App("billing", settings="memory://")  # error
