"""Consuming: a handler that does not fit is a type error. Checked, never run (see test_typing.py)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from waybill import App, Delivery, Message, Retry, Topic

if TYPE_CHECKING:
    from typing import reveal_type


@dataclass
class Order:
    order_id: str


@dataclass
class Invoice:
    number: int


orders = Topic("orders", Order, key=lambda order: order.order_id)
app = App("billing")


@app.consume(orders)
async def value_only(order: Order) -> None:
    reveal_type(order)  # reveal: Order


@app.consume(orders, group="g", concurrency=32, ordered=True, retry=Retry.fixed(3, delay=1), timeout=timedelta(hours=1))
async def with_delivery(order: Order, delivery: Delivery[Order]) -> None:
    reveal_type(delivery.value)  # reveal: Order
    reveal_type(delivery.message)  # reveal: Message
    reveal_type(delivery.attempt)  # reveal: int
    await delivery.extend(timedelta(minutes=5))


@app.consume(orders, group="wide", timeout=None)
async def takes_anything(order: object) -> None:
    print(order)


async def plain_call() -> None:
    await value_only(Order("1"))
    await value_only(Invoice(1))  # error


@app.consume(orders)  # error
async def wrong_value(invoice: Invoice) -> None:
    print(invoice)


@app.consume(orders)  # error
async def wrong_second(order: Order, other: str) -> None:
    print(order, other)


@app.consume(orders)  # error
async def delivery_of_something_else(order: Order, delivery: Delivery[Invoice]) -> None:
    print(order, delivery)


@app.consume(orders)
def plain(order: Order) -> None:
    print(order)


@app.consume(orders)  # error
def plain_of_something_else(invoice: Invoice) -> None:
    print(invoice)


@app.consume(orders)  # error
async def returns_something(order: Order) -> int:
    return len(order.order_id)


@app.consume(orders)  # error
async def takes_nothing() -> None:
    pass


@app.consume(orders)  # error
async def takes_three(order: Order, delivery: Delivery[Order], more: int) -> None:
    print(order, delivery, more)


@app.consume(orders)  # error
async def takes_the_message(message: Message) -> None:
    print(message)


app.consume(orders, concurency=1)  # error
app.consume(orders, concurrency="many")  # error
app.consume(orders, ordered=1)  # error
app.consume(orders, retry=3)  # error
app.consume(orders, timeout="1s")  # error
app.consume(orders, group=7)  # error
app.consume("orders")  # error
app.consume(orders, 32)  # error
