"""Consuming: a handler that does not fit is a type error. Checked, never run (see test_typing.py)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from waybill import App, Batch, Delivery, Message, Retry, Tombstone, Topic, TopicPattern

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


invoices = Topic("invoices", Invoice)
profiles = Topic.with_tombstones("profiles", Order, key=lambda order: order.order_id)


@app.consume(orders, batch=100, group="batches")
async def batch_of_values(batch: list[Order]) -> None:
    reveal_type(batch)  # reveal: list[Order]


@app.consume(orders, batch=Batch(100, wait=0.5), group="batches2", ordered=True)
async def batch_with_deliveries(batch: list[Order], deliveries: list[Delivery[Order]]) -> None:
    reveal_type(deliveries)  # reveal: list[Delivery[Order]]
    print(batch)


@app.consume(orders, batch=100, group="batches3")
def plain_batch(batch: list[Order]) -> None:
    print(batch)


@app.consume(orders, batch=100)  # error
async def not_a_batch(order: Order) -> None:
    print(order)


@app.consume(orders)  # error
async def unasked_batch(batch: list[Order]) -> None:
    print(batch)


@app.consume(orders, invoices, group="both")
async def either(value: Order | Invoice, delivery: Delivery[Order | Invoice]) -> None:
    reveal_type(delivery.value)  # reveal: Order | Invoice
    print(value)


@app.consume(orders, invoices, group="both2")  # error
async def only_one_of_two(value: Order) -> None:
    print(value)


@app.consume(TopicPattern("orders.*", Order), where={"region": ["eu", "uk"]}, start="latest")
async def by_pattern(order: Order) -> None:
    print(order)


@app.consume(profiles)
async def with_tombstones(value: Order | Tombstone) -> None:
    print(value)


@app.consume(profiles)  # error
async def without_tombstones(value: Order) -> None:
    print(value)


async def publishes() -> None:
    await app.publish(profiles, Tombstone("k"))
    await app.publish(profiles, Order("1"))
    await app.publish(orders, Tombstone("k"))  # error
    await app.publish(TopicPattern("orders.*", Order), Order("1"))  # error


app.consume(orders, on_failure="explode")  # error
app.consume(orders, start="first")  # error
app.consume(orders, where=["region"])  # error
app.consume(orders, batch="100")  # error
