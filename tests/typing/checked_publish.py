"""Publishing: a wrong payload is a type error. Checked, never run (see test_typing.py)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from waybill import App, Confirmed, SendResult, Topic

if TYPE_CHECKING:
    from typing import reveal_type


@dataclass
class Order:
    order_id: str


@dataclass
class Invoice:
    number: int


@dataclass
class Express(Order):
    hours: int


orders = Topic("orders", Order, key=lambda order: order.order_id)
invoices = Topic("invoices", Invoice)
numbers = Topic("numbers", list[int])
app = App("billing")


async def right() -> None:
    confirmed = await app.publish(orders, Order("1"))
    reveal_type(confirmed)  # reveal: Confirmed
    also: Confirmed = await app.publish(
        orders, Express("1", 2), key="k", headers={"a": "b"}, delay=1, expires=timedelta(days=1), deadline=2.5
    )
    results = await app.publish_many(invoices, [Invoice(1), Invoice(2)])
    reveal_type(results)  # reveal: list[Confirmed | Refused | Unknown]
    lazily: list[SendResult] = await app.publish_many(invoices, (Invoice(n) for n in range(3)), headers={"a": "b"})
    await app.publish(numbers, [1, 2])
    print(also, lazily)


async def wrong() -> None:
    await app.publish(orders, Invoice(1))  # error
    await app.publish(invoices, "text")  # error
    await app.publish(numbers, ["a"])  # error
    await app.publish("orders", Order("1"))  # error
    await app.publish(orders)  # error
    await app.publish(orders, Order("1"), key=7)  # error
    await app.publish(orders, Order("1"), headers={"a": 1})  # error
    await app.publish(orders, Order("1"), delay="soon")  # error
    await app.publish(orders, Order("1"), prio=1)  # error
    await app.publish_many(orders, [Invoice(1)])  # error
    await app.publish_many(orders, Order("1"))  # error
    await app.publish_many(orders, [Order("1"), Invoice(1)])  # error


async def wrong_on_the_test_bus() -> None:
    async with app.test() as bus:
        await bus.publish(orders, Order("1"))
        reveal_type(bus.published(invoices))  # reveal: list[Invoice]
        await bus.publish(orders, Invoice(1))  # error
        await bus.publish(orders, Order("1"), delai=1)  # error
