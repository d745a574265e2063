"""`app.test()`: the embedded broker itself with a clock the test owns."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

import pytest

from waybill import App, Delivery, Reject, Retry, RetryAfter, Topic
from waybill.clock import TestClock
from waybill.testing import TestBus


@dataclass
class Order:
    order_id: str
    customer: str = "c"


@dataclass
class Invoice:
    order_id: str


ORDERS = Topic("orders", Order, key=lambda order: order.customer)
INVOICES = Topic("invoices", Invoice)


@pytest.fixture
def waybill_app() -> App:
    app = App("billing")

    @app.consume(ORDERS)
    async def bill(order: Order) -> None:
        await app.publish(INVOICES, Invoice(order.order_id))

    return app


async def test_the_fixture_runs_the_application_of_the_test(waybill_bus: TestBus) -> None:
    await waybill_bus.publish(ORDERS, Order("o1"))
    await waybill_bus.drain()
    assert waybill_bus.published(INVOICES) == [Invoice("o1")]
    assert waybill_bus.dead_letters(ORDERS) == []


async def test_draining_what_is_empty_returns_at_once(waybill_bus: TestBus) -> None:
    await waybill_bus.drain(timeout=0.5)


async def test_retries_an_hour_apart_run_at_once() -> None:
    app, attempts = App("a"), list[int]()

    @app.consume(ORDERS, retry=Retry.fixed(5, delay=3600))
    async def fail(_: Order, delivery: Delivery[Order]) -> None:
        attempts.append(delivery.attempt)
        raise ValueError("no")

    before = time.monotonic()
    async with app.test() as bus:
        start = bus.clock.time()
        await bus.publish(ORDERS, Order("o1"))
        await bus.drain()
        assert bus.clock.time() - start == pytest.approx(4 * 3600, abs=1)
        assert attempts == [1, 2, 3, 4, 5]
        assert bus.retries(ORDERS) == [3600.0] * 4
        (letter,) = bus.dead_letters(ORDERS)
        assert (letter.reason, letter.record.attempts) == ("retries_exhausted", 5)
    assert time.monotonic() - before < 3


async def test_an_ordered_key_with_messages_behind_a_retry_drains_in_order() -> None:
    app, seen = App("a"), list[tuple[str, int]]()

    @app.consume(ORDERS, ordered=True, retry=Retry.fixed(3, delay=3600))
    async def handle(order: Order, delivery: Delivery[Order]) -> None:
        seen.append((order.order_id, delivery.attempt))
        if order.order_id == "1" and delivery.attempt < 3:
            raise ValueError

    async with app.test() as bus:
        for n in range(4):
            await bus.publish(ORDERS, Order(str(n)))
        await bus.drain(timeout=2)
    assert [ident for ident, _ in seen] == ["0", "1", "1", "1", "2", "3"]


async def test_every_dead_letter_is_seen_when_drain_returns() -> None:
    app = App("a")

    @app.consume(ORDERS)
    async def reject(_: Order) -> None:
        raise Reject("no")

    async with app.test() as bus:
        for n in range(1, 151):
            await bus.publish(ORDERS, Order(str(n)))
            await bus.drain()
            assert len(bus.dead_letters(ORDERS)) == n


async def test_dead_letters_are_told_by_group() -> None:
    app = App("a")

    @app.consume(ORDERS, group="one")
    async def reject(_: Order) -> None:
        raise Reject("no")

    @app.consume(ORDERS, group="two")
    async def accept(_: Order) -> None:
        pass

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        await bus.drain()
        assert len(bus.dead_letters(ORDERS, group="one")) == len(bus.dead_letters(ORDERS)) == 1
        assert bus.dead_letters(ORDERS, group="two") == []


async def test_a_delayed_message_waits_for_the_clock() -> None:
    app, seen = App("a"), list[str]()

    @app.consume(ORDERS)
    async def handle(order: Order) -> None:
        seen.append(order.order_id)

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("long"), delay=timedelta(hours=2))
        await bus.publish(ORDERS, Order("short"), delay=3600)
        await bus.advance(3599)
        assert seen == []
        await bus.advance(1)
        assert seen == ["short"]
        await bus.drain()
        assert seen == ["short", "long"]


async def test_an_expired_message_is_dead_lettered_and_not_handled() -> None:
    app, seen = App("a"), list[str]()

    @app.consume(ORDERS)
    async def handle(order: Order) -> None:
        seen.append(order.order_id)

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("late"), delay=3600, expires=60)
        await bus.publish(ORDERS, Order("fresh"), expires=60)
        await bus.drain()
        assert seen == ["fresh"]
        assert [letter.reason for letter in bus.dead_letters(ORDERS)] == ["expired"]


async def test_retry_after_is_honoured_to_the_second() -> None:
    app = App("a")

    @app.consume(ORDERS)
    async def later(_: Order, delivery: Delivery[Order]) -> None:
        if delivery.attempt == 1:
            raise RetryAfter(timedelta(seconds=7))

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        await bus.drain()
        assert bus.retries(ORDERS) == [7.0]


async def test_drain_says_what_was_left_when_it_gives_up() -> None:
    app = App("a")

    @app.consume(ORDERS, timeout=None)
    async def hang(_: Order, delivery: Delivery[Order]) -> None:
        await asyncio.Event().wait()

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        with pytest.raises(AssertionError, match="orders/a has 0 ready and 1 in flight"):
            await bus.drain(timeout=0.1)


async def test_two_buses_share_nothing() -> None:
    one, two = App("a"), App("a")
    async with one.test() as first, two.test() as second:
        await first.publish(ORDERS, Order("1"))
        assert second.published(ORDERS) == []


async def test_what_a_user_of_messages_sees_has_ids_and_headers(waybill_bus: TestBus) -> None:
    confirmed = await waybill_bus.publish(ORDERS, Order("1"), headers={"a": "b"})
    (item,) = waybill_bus.messages(ORDERS)
    assert (item.id, dict(item.headers), item.key) == (confirmed.id, {"a": "b"}, "c")


def test_the_clock_moves_forward_only() -> None:
    clock = TestClock()
    jumps: list[float] = []
    clock.on_jump(lambda: jumps.append(clock.time()))
    start = clock.time()
    clock.advance(5)
    assert jumps == [start + 5]
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
