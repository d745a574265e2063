"""`bus.explain()`, `bus.errors` and the failures of the bus itself: a test's author sees what happened."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.unit.stand_ins import until
from waybill import App, Delivery, HandlerTimeout, PublishRefused, Reject, Retry, RetryAfter, Topic
from waybill.outcomes import Settled, SettleResult
from waybill.testing import BusError, TestBus
from waybill_embedded.source import FileSource


@dataclass
class Order:
    order_id: str
    customer: str = "c"


@dataclass
class Invoice:
    order_id: str


ORDERS = Topic("orders", Order, key=lambda order: order.customer)
INVOICES = Topic("invoices", Invoice)
FILES = Topic("files", bytes)


def billing(*, timeout: float = 60.0) -> App:
    """Invoices; what it makes of an order is said by the order's id."""
    app = App("billing")

    @app.consume(ORDERS, retry=Retry.fixed(2, delay=7200), timeout=timeout)
    async def bill(order: Order, delivery: Delivery[Order]) -> None:
        if order.order_id == "bad":
            raise ValueError("a bad\norder")
        if order.order_id == "nobody":
            raise Reject("no address")
        if order.order_id == "later" and delivery.attempt == 1:
            raise RetryAfter(60)
        if order.order_id == "slow":
            await asyncio.sleep(60)
        await app.publish(INVOICES, Invoice(order.order_id))

    return app


def told(bus: TestBus) -> list[str]:
    """The story's lines, without the ids and without what is at their ends."""
    return [re.sub(r", id \w{8}$", "", line) for line in bus.explain().splitlines()]


async def test_nothing_happened() -> None:
    async with billing().test() as bus:
        assert bus.explain() == "nothing was published"


async def test_each_message_is_told_with_what_became_of_it() -> None:
    async with billing().test() as bus:
        await bus.publish(ORDERS, Order("1"))
        await bus.drain()
        assert told(bus) == [
            '#1 orders {"order_id":"1","customer":"c"}, key c',
            "    +0 s     published",
            "    +0 s     published: #2 on invoices",
            "    +0 s     billing, attempt 1: bill returned",
            '#2 invoices {"order_id":"1"}',
            "    +0 s     published while #1 was handled",
            "nothing is left",
        ]


async def test_attempts_are_told_with_their_errors_and_waits() -> None:
    async with billing().test() as bus:
        for ident in ("bad", "nobody", "later"):
            await bus.publish(ORDERS, Order(ident))
            await bus.drain()
        lines = told(bus)
        bad = "billing, attempt {}: bill raised ValueError: a bad order; {}"
        assert "    +0 s     " + bad.format(1, "again in 2 h") in lines
        assert "    +2 h     " + bad.format(2, "dead letter: retries_exhausted") in lines
        assert "    +2 h     billing, attempt 1: bill raised Reject: no address; dead letter: rejected" in lines
        assert "    +2 h     billing, attempt 1: bill raised RetryAfter: retry after 60 s; again in 60 s" in lines
        assert any(line.endswith("billing, attempt 2: bill returned") for line in lines)


async def test_what_is_dead_without_being_handled_says_why() -> None:
    async with billing().test() as bus:
        await bus.publish(ORDERS, Order("1"), delay=60, expires=1)
        await bus.drain()
        assert "billing, attempt 1: not handled; dead letter: expired (it was to be handled by" in bus.explain()


async def test_what_is_left_says_what_it_waits_for() -> None:
    async with billing().test() as bus:
        await bus.publish(ORDERS, Order("bad"))
        await bus.publish(ORDERS, Order("delayed"), delay=timedelta(hours=3))
        await bus.advance(0)
        bus.faults.drop(ORDERS)
        await bus.publish(ORDERS, Order("dropped"))
        await bus.advance(10)
        left = told(bus)
        left = left[left.index("left:") + 1 :]
        assert left[:3] == [
            "    #1 for orders/billing: it is tried again, due in 120 min",
            "    #2 for orders/billing: not delivered yet, due in 3 h",
            "    #3 for orders/billing: its delivery was lost, due in 20 s",
        ]
        await bus.drain()
        assert "nothing is left" in told(bus)


async def test_nobody_here_waits_for_what_other_services_consume() -> None:
    async with billing().test() as bus:
        await bus.publish(INVOICES, Invoice("1"))
        await bus.drain()
        assert told(bus)[-1] == "nothing is left"


async def test_a_handler_that_runs_too_long_is_said_to_have_timed_out() -> None:
    async with billing(timeout=0.05).test() as bus:
        await bus.publish(ORDERS, Order("slow"))
        await bus.drain()
        assert "bill raised HandlerTimeout: ran longer than its timeout allows; again in 2 h" in bus.explain()
        assert "await asyncio.sleep(60)" in bus.explain()
        assert [type(error) for error in bus.errors] == [HandlerTimeout] * 2


async def test_faults_are_part_of_the_story() -> None:
    async with billing().test() as bus:
        bus.faults.duplicate(ORDERS)
        bus.faults.delay(ORDERS, 5)
        bus.faults.lose_lease(ORDERS)
        bus.faults.crash_at_settle(ORDERS)
        bus.faults.refuse(INVOICES)
        bus.faults.unknown(INVOICES)
        await bus.publish(ORDERS, Order("1"))
        await bus.drain()
        text = bus.explain()
        assert "fault: delivered once more" in text
        assert "fault: its delivery takes long; it comes in 5 s" in text
        assert "bill was cancelled; its lease was lost: it comes again" in text
        assert "fault: the process died before the broker knew of it" in text
        assert "publish refused while #1 was handled: the test wants it refused" in text
        assert "publish in doubt while #1 was handled: the test wants the answer lost (stored)" in text
        assert text.endswith("nothing is left") or "nothing is left\n" in text


async def test_values_are_shown_in_one_line_of_bounded_length() -> None:
    async with App("a").test() as bus:
        await bus.publish(FILES, b"\xff\x00")
        await bus.publish(FILES, b"one\ntwo")
        await bus.publish(FILES, b"x" * 10_000)
        titles = [line for line in told(bus) if line.startswith("#")]
        assert titles[:2] == ["#1 files b'\\xff\\x00'", "#2 files one two"]
        assert len(titles[2]) < 200
        assert titles[2].startswith("#3 files xxx")


# -------------------------------------------------------------------- what handlers raised


async def test_the_traceback_of_a_handler_is_shown_once_from_its_own_frame_on() -> None:
    async with billing().test() as bus:
        await bus.publish(ORDERS, Order("bad"))
        await bus.drain()
        _, _, trace = bus.explain().partition("bill, handling #1 (attempt 1), and once more:\n")
        assert trace.splitlines()[0] == "Traceback (most recent call last):"
        assert re.search(r'test_testing_story.py", line \d+, in bill\n    raise ValueError\("a bad', trace)
        assert trace.count("File ") == 1


async def test_the_errors_are_those_that_handlers_raised_and_not_what_only_decides() -> None:
    async with billing().test() as bus:
        for ident in ("bad", "nobody", "later"):
            await bus.publish(ORDERS, Order(ident))
        await bus.drain()
        assert [str(error) for error in bus.errors] == ["a bad\norder"] * 2


async def test_drain_can_raise_what_a_handler_raised() -> None:
    async with billing().test(raise_errors=True) as bus:
        await bus.publish(ORDERS, Order("nobody"))
        await bus.drain()
        await bus.publish(ORDERS, Order("bad"))
        with pytest.raises(ValueError, match="a bad") as caught:
            await bus.drain()
        assert caught.traceback[-1].name == "bill"
        assert [letter.reason for letter in bus.dead_letters(ORDERS)] == ["rejected"]


async def test_the_end_of_the_block_raises_what_no_drain_has() -> None:
    async def test() -> None:
        async with billing().test(raise_errors=True) as bus:
            await bus.publish(ORDERS, Order("bad"))
            await until(lambda: bus.errors)

    with pytest.raises(ValueError, match="a bad"):
        await test()


async def test_each_error_is_raised_once() -> None:
    async with billing().test(raise_errors=True) as bus:
        await bus.publish(ORDERS, Order("bad"))
        with pytest.raises(ValueError, match="a bad"):
            await bus.advance(1)
        await bus.advance(1)
        with pytest.raises(ValueError, match="a bad"):
            await bus.drain()


# -------------------------------------------------------------------- failures of the bus


async def test_drain_says_which_messages_are_left_and_which_handler_runs_them() -> None:
    app = App("a")

    @app.consume(ORDERS, timeout=None)
    async def hang(_: Order) -> None:
        await asyncio.Event().wait()

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        with pytest.raises(BusError) as caught:
            await bus.drain(timeout=1.0)
        text = str(caught.value)
        assert text.startswith("not done after 1 s of real time:\n    orders/a has 0 ready and 1 in flight\n")
        assert re.search(r"#1 for orders/a: hang has been running for \d", text)
        assert '#1 orders {"order_id":"1"' in text


async def test_drain_ends_although_there_is_always_something_due() -> None:
    app = App("a")

    @app.consume(ORDERS)
    async def again(order: Order) -> None:
        await app.publish(ORDERS, order, delay=60)

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        with pytest.raises(BusError, match=r"not done after 0.1 s of real time:\n    .*orders/a"):
            await bus.drain(timeout=0.1)


async def test_what_was_ready_is_handled_before_the_clock_moves() -> None:
    app, at = App("a"), list[float]()

    @app.consume(ORDERS)
    async def handle(_: Order) -> None:
        at.append(bus.clock.time() - start)

    async with app.test() as bus:
        start = bus.clock.time()
        await bus.publish(ORDERS, Order("1"))
        await bus.advance(60)
        assert at == [0.0]


async def test_a_publish_that_is_refused_is_told_and_not_among_the_published() -> None:
    async with billing().test() as bus:
        bus.faults.refuse(ORDERS)
        with pytest.raises(PublishRefused):
            await bus.publish(ORDERS, Order("1"))
        assert bus.published(ORDERS) == []
        assert told(bus)[1] == "    +0 s     publish refused: the test wants it refused"


async def test_drained_means_that_the_application_knows_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker has taken a settlement a moment before its answer is heard."""

    class Hesitant(FileSource):
        async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
            results = await super().settle(settled)
            await asyncio.sleep(0.05)
            return results

    monkeypatch.setattr("waybill_embedded.FileSource", Hesitant)
    async with billing().test() as bus:
        await bus.publish(ORDERS, Order("o1"))
        await bus.drain()
        assert told(bus)[-1] == "nothing is left"
