"""Rows 11 to 17: the broker refuses, dies, stands still, is restarted, or does not know us any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from waybill import App, BrokerError, Status
from waybill_contracts.bench import Bench
from waybill_contracts.faults.fault import ROUNDS, fault, lasting
from waybill_contracts.faults.range import WINDOW, Range
from waybill_contracts.leftovers import in_use
from waybill_contracts.tasks import Task

YOUNG = 3.0
"""Seconds after which a broker has certainly stored what was declared, also where its servers agree on it first."""


@fault(11, verbs=("away",), seconds=8, soak=45)
async def refused_at_its_start_it_says_so_or_waits_and_leaves_nothing_behind(bench: Bench) -> None:
    """Fails with a BrokerError or waits; clean."""
    place = Range(bench)
    app, before, stop = place.consumer(), in_use(), asyncio.Event()
    assert bench.broker.away is not None
    async with bench.broker.away():
        starting = asyncio.create_task(_run(app, stop))
        await asyncio.wait({starting}, timeout=lasting(30.0, 5.0))
        waits = not starting.done()
    if waits:
        await bench.until(lambda: app.health().status is Status.UP, "it starts when the broker is there")
        stop.set()
        await starting
    else:
        assert isinstance(starting.exception(), BrokerError), f"it ended with {starting.exception()!r}"
    await place.left_nothing(before)
    async with app.running():
        await place.goes_on(app)
    await place.holds()


async def _run(app: App, stop: asyncio.Event) -> None:
    async with app.running():
        await stop.wait()


async def _again_and_again(bench: Bench, rounds: int, down: float, *, each: int, end: str = "") -> None:
    """The broker goes and comes back under load, so many times. `end`: the verb that ends its process."""
    place = Range(bench)
    app = place.consumer(lease=lasting(30.0, 10.0))  # what was held may come no sooner
    async with app.running():
        await place.goes_on(app)  # with all that it opens when it is used
        before = len(asyncio.all_tasks())
        async with place.load(app):
            await place.busy()
            if end:
                await asyncio.sleep(YOUNG)
            for _ in range(rounds):
                async with place.fault(_ended(bench, end) if end else _gone(bench)):
                    await asyncio.sleep(place.chance.uniform(0.5, 1.5) * down)
                await place.busy()
        await place.calm()
        await place.goes_on(app)
        await bench.until(lambda: len(asyncio.all_tasks()) <= before + 2, "no task is left of any of them")
    await place.holds(each=each, within=30.0)


@asynccontextmanager
async def _ended(bench: Bench, verb: str) -> AsyncGenerator[None, None]:
    assert bench.broker.restart is not None
    await getattr(bench.broker, verb)()
    try:
        yield
    finally:
        await bench.broker.restart()


@asynccontextmanager
async def _gone(bench: Bench) -> AsyncGenerator[None, None]:
    assert bench.broker.away is not None
    async with bench.broker.away():
        yield


@asynccontextmanager
async def _paused(bench: Bench) -> AsyncGenerator[None, None]:
    assert bench.broker.pause is not None
    assert bench.broker.resume is not None
    await bench.broker.pause()
    try:
        yield
    finally:
        await bench.broker.resume()


@fault(12, verbs=("kill", "restart"), needs=("durable",), seconds=40, soak=600)
async def a_kill_of_the_broker_loses_nothing_that_was_confirmed(bench: Bench) -> None:
    """Under load; T 30 s once it answers again."""
    await _again_and_again(bench, min(ROUNDS, 10), 1.0, each=2 * WINDOW, end="kill")


@fault(13, verbs=("pause",), seconds=15, soak=260)
async def a_broker_that_stood_still_is_consumed_by_one_consumer_after(bench: Bench) -> None:
    """As row 6, for 20 s and 200 s; what comes after is handled once."""
    place = Range(bench)
    app = place.consumer()
    async with app.running():
        for seconds in (lasting(20.0, 3.0), lasting(200.0, 0.0)):
            async with place.load(app, deadline=1.0):
                await place.busy()
                async with place.fault(_paused(bench)):
                    await asyncio.sleep(seconds)
                await place.busy()
            await place.calm()
            await place.goes_on(app)
    await place.holds(within=10.0)


@fault(14, verbs=("stop", "restart"), needs=("durable",), seconds=40, soak=600)
async def a_broker_that_is_stopped_and_started_repeats_what_was_in_flight_at_most(bench: Bench) -> None:
    """D <= P, T 30 s."""
    await _again_and_again(bench, min(ROUNDS, 10), 1.0, each=WINDOW, end="stop")


@fault(15, verbs=("away",), seconds=15, soak=150)
async def five_outages_in_a_row_leave_no_task_behind_and_lose_nothing(bench: Bench) -> None:
    """No leak, no loss; attempts to connect are few."""
    link = bench.broker.link
    before = link.accepted if link is not None else 0
    await _again_and_again(bench, 5, lasting(10.0, 1.0), each=WINDOW)
    if link is not None:
        tried = link.accepted - before
        assert tried <= 200, f"{tried} connections in 5 outages: is there no back-off?"


@fault(16, verbs=("lock_out", "link"), seconds=10, soak=40)
async def credentials_that_are_wrong_at_a_reconnect_are_told_and_not_tried_without_end(bench: Bench) -> None:
    """Health says so; no fast loop; recovers when they are right again."""
    place = Range(bench)
    app, link = place.consumer(), bench.broker.link
    assert link is not None
    assert bench.broker.lock_out is not None
    async with app.running():
        async with place.load(app, deadline=1.0):
            await place.busy()
            async with place.fault(bench.broker.lock_out()):
                link.cut()
                before = link.accepted
                await bench.until(lambda: app.health().status is not Status.UP, "health says so")
                seconds = lasting(20.0, 3.0)
                await asyncio.sleep(seconds)
                tried = link.accepted - before
            await place.busy()
        assert tried <= 10 * seconds, f"{tried} attempts in {seconds:g} s"
        await place.calm()
        await bench.until(lambda: app.health().status is Status.UP, "health says that it is over")
        await place.goes_on(app)
    await place.holds(within=30.0)


@fault(17, verbs=("forbid",), seconds=6)
async def a_permission_that_is_taken_stops_one_consumer_and_no_other(bench: Bench) -> None:
    """The one says why, the others go on."""
    closed, sound = bench.topic("closed"), bench.topic("sound")
    app, journal = bench.consumer(closed)
    bench.consumer(sound, journal=journal, app=app)

    def health() -> dict[str, Status]:
        return {part.name: part.status for part in app.health().parts}

    assert bench.broker.forbid is not None
    async with app.running():
        for topic in (closed, sound):
            await bench.publish(topic, Task(1), app=app)
        await bench.until(lambda: len(journal.of("done")) == 2, "both consume")
        async with bench.broker.forbid(closed.name, "group"):
            with suppress(BrokerError):
                await app.publish_many(closed, [Task(2)], deadline=2.0)
            said = f"health says which may not be consumed: {sorted(health())}"
            await bench.until(lambda: health()[f"{closed.name}/group"] is not Status.UP, said)
            for number in range(10, 20):
                await bench.publish(sound, Task(number), app=app)
            await bench.until(
                lambda: {step.number for step in journal.of("done") if step.topic == sound.name} == {1, *range(10, 20)},
                "the other goes on",
            )
