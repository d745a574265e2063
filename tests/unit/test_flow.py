"""What can be changed while a consumer runs, and what a key does while a failed message of it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from waybill import App, ClosedError, ConfigurationError, Delivery, Retry, Settings, Topic
from waybill.options import ConsumerOptions


@dataclass
class Step:
    key: str
    number: int


steps = Topic("steps", Step, key=lambda step: step.key)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_paused_consumer_starts_nothing_and_goes_on_where_it_was() -> None:
    app = App("flow")
    seen: list[int] = []

    @app.consume(steps)
    async def handle(step: Step) -> None:
        seen.append(step.number)

    async with app.test() as bus:
        app.consumer(steps).pause()
        for number in range(3):
            await bus.publish(steps, Step("k", number))
        await asyncio.sleep(0.1)  # it must not happen meanwhile
        assert seen == []
        assert app.consumer(steps).paused
        app.consumer(steps).resume()
        await bus.drain()
    assert sorted(seen) == [0, 1, 2]


async def test_a_running_handler_finishes_while_paused_and_no_other_starts() -> None:
    app = App("flow")
    gate = asyncio.Event()
    started: list[int] = []
    ended: list[int] = []

    @app.consume(steps, concurrency=1)
    async def handle(step: Step) -> None:
        started.append(step.number)
        await gate.wait()
        ended.append(step.number)

    async with app.test() as bus:
        await bus.publish(steps, Step("k", 1))
        await bus.publish(steps, Step("k", 2))
        await until(lambda: started == [1])
        app.consumer(steps).pause()
        gate.set()
        await until(lambda: ended == [1])
        await asyncio.sleep(0.05)  # it must not happen meanwhile
        assert started == [1]
        app.consumer(steps).resume()
        await bus.drain()


async def test_concurrency_changes_while_running() -> None:
    app = App("flow")
    gate = asyncio.Event()
    running = 0

    @app.consume(steps, concurrency=2)
    async def handle(_: Step) -> None:
        nonlocal running
        running += 1
        try:
            await gate.wait()
        finally:
            running -= 1

    async with app.test() as bus:
        for number in range(40):
            await bus.publish(steps, Step("k", number))
        await until(lambda: running == 2)
        app.consumer(steps).concurrency = 20
        await until(lambda: running == 20)
        app.consumer(steps).concurrency = 1
        with pytest.raises(ConfigurationError):
            app.consumer(steps).concurrency = 0
        gate.set()
        await bus.drain()


async def test_the_consumer_of_what_is_not_consumed_or_not_running_is_an_error() -> None:
    app = App("flow")

    @app.consume(steps)
    async def handle(_: Step) -> None: ...

    with pytest.raises(ClosedError):
        app.consumer(steps)
    async with app.test():
        with pytest.raises(ConfigurationError, match="steps/other"):
            app.consumer(steps, group="other")


async def test_relaxed_a_failed_message_lets_the_later_ones_of_its_key_pass_and_is_marked() -> None:
    app = App("flow")
    seen: list[tuple[int, int, bool]] = []

    @app.consume(steps, ordered=True, on_failure="relax", retry=Retry.fixed(3, delay=60))
    async def handle(step: Step, delivery: Delivery[Step]) -> None:
        seen.append((step.number, delivery.attempt, delivery.out_of_order))
        if step.number == 1 and delivery.attempt == 1:
            raise ConnectionError

    async with app.test() as bus:
        for number in range(4):
            await bus.publish(steps, Step("k", number))
        await bus.drain()
    assert seen == [(0, 1, False), (1, 1, False), (2, 1, False), (3, 1, False), (1, 2, True)]


async def test_blocking_is_the_default_where_there_is_order() -> None:
    app = App("flow")
    seen: list[int] = []

    @app.consume(steps, ordered=True, retry=Retry.fixed(2, delay=60))
    async def handle(step: Step, delivery: Delivery[Step]) -> None:
        seen.append(step.number)
        if step.number == 1:
            raise ConnectionError

    async with app.test() as bus:
        for number in range(3):
            await bus.publish(steps, Step("k", number))
        await bus.drain()
        assert [letter.reason for letter in bus.dead_letters(steps)] == ["retries_exhausted"]
    assert seen == [0, 1, 1, 2]


def test_a_key_that_waits_needs_order() -> None:
    with pytest.raises(ConfigurationError, match="ordered=True"):
        App("flow").consume(steps, on_failure="block-key")


async def test_what_is_held_while_paused_keeps_its_lease() -> None:
    """A second member is there to take what is given up."""
    url = "memory://paused"
    holder = App("flow", settings=Settings(url=url, lease=3.0))
    other = App("flow", settings=Settings(url=url, lease=3.0))
    taken: list[str] = []
    gate = asyncio.Event()

    @holder.consume(steps, concurrency=1, window=10)
    async def hold(step: Step) -> None:
        taken.append(f"holder {step.number}")
        await gate.wait()

    @other.consume(steps)
    async def take(step: Step) -> None:
        taken.append(f"other {step.number}")

    async with holder.running():
        for number in range(3):
            await holder.publish(steps, Step("k", number))
        await until(lambda: taken == ["holder 0"] and holder.health().parts[0].held == 3)
        holder.consumer(steps).pause()
        async with other.running():
            await asyncio.sleep(6.5)  # two leases: it must not be taken over meanwhile
            assert taken == ["holder 0"]
            gate.set()
            holder.consumer(steps).resume()
            await until(lambda: taken == ["holder 0", "holder 1", "holder 2"])


def test_a_handler_has_an_end_unless_it_is_told_otherwise() -> None:
    assert ConsumerOptions().timeout == 60.0
    app = App("flow")

    async def handle(step: Step) -> None: ...

    app.consume(steps)(handle)
    assert app.registrations[0].options.timeout == 60.0
