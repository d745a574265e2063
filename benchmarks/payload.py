"""What travels in every case: a dataclass of six fields, 256 bytes as JSON, and the one way to write and read it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from waybill import Topic

__all__ = ["KEYS", "ORDERS", "Order", "adapter", "body", "handle", "order"]

KEYS = 1000
SIZE = 256


@dataclass
class Order:
    """An order."""

    order_id: str
    customer_id: str
    amount: float
    quantity: int
    express: bool
    note: str


ORDERS = Topic("bench.orders", Order, key=lambda order: order.customer_id, groups=["bench"])
adapter = TypeAdapter(Order)
"""Everyone's encoder and decoder: what is compared is what stands around it."""


def order(number: int) -> Order:
    """The order of that number; its customer is one of `KEYS`."""
    return Order(f"order-{number:08d}", f"customer-{number % KEYS:04d}", 12.5, 3, True, "x" * _padding)


def body(number: int) -> bytes:
    """The same as JSON, `SIZE` bytes."""
    return adapter.dump_json(order(number))


async def handle(order: Order) -> None:
    """The handler of every contender: nothing, so that what is measured is the way to it."""


_padding = 0
_padding = SIZE - len(body(0))
