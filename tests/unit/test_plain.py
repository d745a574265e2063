"""Plain functions: as handlers, in threads, and as publishers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from waybill import App, ClosedError, ConfigurationError, Confirmed, Delivery, Retry, Settings, Topic


@dataclass
class Order:
    number: int


orders = Topic("orders", Order, key=lambda order: str(order.number % 3), unrouted="accept")
invoices = Topic("invoices", Order, unrouted="accept")


async def test_a_plain_function_handles_in_a_thread_and_publishes_with_the_same_story() -> None:
    app = App("plain")
    threads: set[str] = set()

    @app.consume(orders, concurrency=4)
    def charge(order: Order, delivery: Delivery[Order]) -> None:
        threads.add(threading.current_thread().name)
        if order.number == 2 and delivery.attempt == 1:
            raise ConnectionError
        app.sync.publish(invoices, order)

    async with app.test() as bus:
        sent = [await bus.publish(orders, Order(number)) for number in range(5)]
        await bus.drain()
        assert sorted(order.number for order in bus.published(invoices)) == list(range(5))
        assert {message.causation_id for message in bus.messages(invoices)} == {confirmed.id for confirmed in sent}
    assert threading.current_thread().name not in threads


async def test_threads_are_counted_in_the_concurrency() -> None:
    app = App("plain")
    running, most, lock = 0, 0, threading.Lock()

    @app.consume(orders, concurrency=3)
    def slow(_: Order) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    async with app.test() as bus:
        for number in range(30):
            await bus.publish(orders, Order(number))
        await bus.drain()
    assert most == 3


async def test_a_thread_whose_time_is_over_is_waited_for_and_its_result_counts() -> None:
    app = App("plain")
    calls = 0

    @app.consume(orders, timeout=0.05, retry=Retry.fixed(3, delay=0.01))
    def slow(_: Order) -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.3)

    async with app.test() as bus:
        await bus.publish(orders, Order(1))
        await bus.drain()
        assert calls == 1
        assert bus.dead_letters(orders) == []


async def test_a_thread_that_fails_after_its_time_is_a_failed_attempt() -> None:
    app = App("plain")

    @app.consume(orders, timeout=0.05, retry=Retry.none())
    def slow(_: Order) -> None:
        time.sleep(0.3)
        raise ConnectionError

    async with app.test() as bus:
        await bus.publish(orders, Order(1))
        await bus.drain()
        assert [letter.record.error for letter in bus.dead_letters(orders)] == ["waybill.errors.HandlerTimeout"]


async def test_waiting_on_the_own_loop_is_refused_instead_of_hanging() -> None:
    app = App("plain")
    async with app.test():
        with pytest.raises(ConfigurationError, match="await"):
            app.sync.publish(orders, Order(1))


def test_a_script_publishes(tmp_path: Path) -> None:
    app = App("script", settings=Settings(url=f"sqlite:///{tmp_path}/bus.db"))
    with app.sync.running():
        assert isinstance(app.sync.publish(orders, Order(1)), Confirmed)
        assert len(app.sync.publish_many(orders, [Order(2), Order(3)])) == 3 - 1
    with pytest.raises(ClosedError):
        asyncio.run(app.publish(orders, Order(4)))


def test_an_application_that_cannot_start_says_so_to_the_publisher(tmp_path: Path) -> None:
    app = App("script", settings=Settings(url="nonsense://x"))
    with pytest.raises(ConfigurationError, match="nonsense"):
        app.sync.publish(orders, Order(1))


def test_a_web_application_needs_no_start_and_loses_nothing_at_its_end(tmp_path: Path) -> None:
    script = f"""
        from tests.unit.test_plain import App, Order, Settings, orders
        app = App("web", settings=Settings(url="sqlite:///{tmp_path}/bus.db"))
        def view(): app.sync.publish(orders, Order(1))
        view(); view()
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=30, cwd=Path(__file__).parents[2]
    )
    app = App("reader", settings=Settings(url=f"sqlite:///{tmp_path}/bus.db"))
    seen: list[int] = []

    @app.consume(orders)
    async def read(order: Order) -> None:
        seen.append(order.number)

    async def main() -> None:
        async with app.running():
            async with asyncio.timeout(5):
                while len(seen) < 2:
                    await asyncio.sleep(0.01)

    asyncio.run(main())
    assert seen == [1, 1]
