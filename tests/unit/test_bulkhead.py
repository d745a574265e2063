"""A bulkhead: so many handlers at once, of all the subscriptions that share it, and none of these starves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.stand_ins import Bench, consuming, message, never, until
from waybill import App, Batch, Bulkhead, ConfigurationError, Delivery, Topic
from waybill.options import ConsumerOptions


class Load:
    """Handlers of several subscriptions, which take a moment, and what they were seen to do."""

    def __init__(self, pause: float = 0.005) -> None:
        self.running = self.most = 0
        self.done: list[str] = []
        self.pause = pause
        self.gate = asyncio.Event()
        self.gate.set()

    def of(self, name: str) -> Any:
        async def handle(_: Any) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(self.pause)
                await self.gate.wait()
            finally:
                self.running -= 1
            self.done.append(name)

        return handle


async def test_no_more_run_at_once_than_it_bears_of_all_that_share_it() -> None:
    load, benches, shared = Load(), [Bench(), Bench()], Bulkhead("database", 3)
    for bench in benches:
        bench.push(*(message(f"m{n}") for n in range(30)))
    async with (
        consuming(benches[0], load.of("a"), gates=(shared,)),
        consuming(benches[1], load.of("b"), gates=(shared,)),
    ):
        await until(lambda: len(load.done) == 60)
    assert load.most == 3
    assert shared.running == 0


async def test_a_busy_subscription_does_not_starve_the_other() -> None:
    load, busy, quiet, shared = Load(), Bench(), Bench(), Bulkhead("database", 2)
    busy.push(*(message(f"m{n}") for n in range(200)))
    async with (
        consuming(busy, load.of("busy"), gates=(shared,), concurrency=50),
        consuming(quiet, load.of("quiet"), gates=(shared,)),
    ):
        await until(lambda: len(load.done) >= 10)
        quiet.push(*(message(f"q{n}") for n in range(20)))
        before = len(load.done)
        await until(lambda: load.done.count("quiet") == 20)
    since = load.done[before:]
    assert since.count("busy") <= 30, "one of each in turn"


async def test_one_that_is_cut_short_gives_its_place_back() -> None:
    load, first, second, shared = Load(), Bench(), Bench(), Bulkhead("database", 1)
    load.gate.clear()
    first.push(message("a"))
    async with consuming(second, load.of("second"), gates=(shared,)):
        async with consuming(first, load.of("first"), gates=(shared,), grace=0.0):
            await until(lambda: load.running == 1)
            second.push(message("b"))
            await never(lambda: load.running > 1)
        load.gate.set()
        await until(lambda: load.done == ["second"])
    assert shared.running == 0


async def test_batches_of_more_than_it_bears_are_filled_all_the_same() -> None:
    bench, sizes, shared = Bench(), list[int](), Bulkhead("database", 1)

    async def handle(deliveries: Any) -> None:
        sizes.append(len(deliveries))
        await asyncio.sleep(0.01)

    bench.push(*(message(f"m{n}") for n in range(100)))
    async with consuming(bench, handle, gates=(shared,), batch=Batch(20, wait=0.5)):
        await until(lambda: sum(sizes) == 100)
    assert max(sizes) == 20


async def test_a_handler_names_it_and_may_name_several() -> None:
    app, topic, other = App("a"), Topic("t", int), Topic("u", int)
    database, licence = Bulkhead("database", 5), Bulkhead("licence", 1)
    running = most = 0

    async def handle(_: int, delivery: Delivery[int]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1

    app.consume(topic, bulkhead=[database, licence])(handle)
    app.consume(other, bulkhead=licence)(handle)
    async with app.test() as bus:
        for number in range(10):
            await bus.publish(topic, number)
            await bus.publish(other, number)
        await bus.drain()
    assert most == 1


@pytest.mark.parametrize(("name", "handlers"), [("", 1), ("a\nb", 1), ("a", 0), ("a", True), ("a", 1.5)])
def test_what_cannot_be_one_is_refused(name: Any, handlers: Any) -> None:
    with pytest.raises(ConfigurationError, match="Bulkhead"):
        Bulkhead(name, handlers)


def test_two_bulkheads_of_one_name_are_refused_and_one_object_is_shared() -> None:
    app, database = App("shop"), Bulkhead("database", 2)
    first, second, third = (Topic(name, int) for name in ("first", "second", "third"))
    app.consume(first, bulkhead=database)(lambda value: None)
    app.consume(second, bulkhead=database)(lambda value: None)
    with pytest.raises(ConfigurationError, match="another bulkhead called 'database'"):
        app.consume(third, bulkhead=Bulkhead("database", 2))(lambda value: None)


def test_no_more_is_held_than_its_handlers_can_use() -> None:
    assert ConsumerOptions(concurrency=50, gates=(Bulkhead("database", 6),)).held == 24
    assert ConsumerOptions(concurrency=5, gates=(Bulkhead("database", 6),)).held == 20


async def test_one_object_serves_one_event_loop_and_the_next_when_that_was_thrown_away() -> None:
    shared, refused = Bulkhead("database", 1), list[str]()

    async def elsewhere() -> None:
        try:
            shared.join(lambda: None)
            shared.start(0.0)
        except ConfigurationError as error:
            refused.append(str(error))

    await asyncio.to_thread(asyncio.run, elsewhere())  # its handler never ends
    load, bench = Load(), Bench()
    bench.push(message("a"))
    async with consuming(bench, load.of("a"), gates=(shared,)):
        await until(lambda: load.done == ["a"])
        await asyncio.to_thread(asyncio.run, elsewhere())
    assert "another event loop" in refused[0]
    assert shared.running == 0
