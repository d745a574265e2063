"""The test bus and its faults: what they hit is typed by the topic. Checked, never run (see test_typing.py)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from waybill import App, Topic

if TYPE_CHECKING:
    from typing import reveal_type


@dataclass
class Order:
    order_id: str


@dataclass
class Invoice:
    number: int


orders = Topic("orders", Order)
invoices = Topic("invoices", Invoice)
app = App("billing")


async def right() -> None:
    async with app.test(raise_errors=True) as bus:
        fault = bus.faults.drop(orders, times=2, group="g", only=lambda order: order.order_id == "1", required=False)
        reveal_type(fault)  # reveal: Fault
        reveal_type(fault.fired)  # reveal: int
        bus.faults.delay(orders, timedelta(minutes=1))
        bus.faults.unknown(invoices, stored=False, only=lambda invoice: invoice.number > 1)
        with bus.faults.away():
            await bus.advance(60)
        reveal_type(bus.errors)  # reveal: list[Exception]
        reveal_type(bus.explain())  # reveal: str
        reveal_type(bus.messages(orders))  # reveal: list[Message]


async def wrong() -> None:
    async with app.test() as bus:
        bus.faults.drop(orders, only=lambda order: order.number > 1)  # error
        bus.faults.drop("orders")  # error
        bus.faults.drop(orders, time=2)  # error
        bus.faults.delay(orders)  # error
        bus.faults.delay(orders, "1 min")  # error
        bus.faults.refuse(invoices, group="g")  # error
        bus.faults.refuse(invoices, stored=True)  # error
        bus.faults.unknown(invoices, only=lambda invoice: invoice.order_id)  # error
    app.test(raise_errors="yes")  # error
