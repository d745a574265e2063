"""Rows 18 to 23: our own process is killed, told to end, or stopped while the broker is gone."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack

from waybill import Status
from waybill_contracts.bench import Bench
from waybill_contracts.faults.fault import ROUNDS, fault, lasting
from waybill_contracts.faults.load import KEYS
from waybill_contracts.faults.range import CONCURRENCY, WINDOW, Range
from waybill_contracts.leftovers import in_use
from waybill_contracts.workers import Worker

LEASE = 10.0
"""Seconds after which others have what a killed process held, where the broker does not see that it is gone."""
GRACE = 1.0
KEYS_AT_WORK = 4
MARGIN = 12.0
"""Seconds beyond its grace in which an application must have stopped, whatever the broker does."""


@fault(18, verbs=("processes",), needs=("durable",), seconds=8.0 + 2 * min(ROUNDS, 5), soak=20.0 + 4 * ROUNDS)
async def what_killed_processes_held_or_had_published_is_not_lost(bench: Bench) -> None:
    """SIGKILL at random: D <= P + W a kill, and no more than was in flight where acknowledgements are sure."""
    place = Range(bench)
    await bench.declare(place.consumer())
    publisher = await place.publisher(busy=0.1)
    crew = [publisher, await place.worker(lease=LEASE), await place.worker(lease=LEASE)]
    while place.faults < ROUNDS:
        await asyncio.sleep(place.chance.uniform(0.1, 0.8))  # the moment of the kill is the experiment
        victim = place.chance.choice(crew)
        place.kill(victim, publishes=victim is publisher)
        await victim.start()
    assert await publisher.stop() == 0
    await place.calm()
    for worker in crew[1:]:
        assert await worker.stop() == 0
    risk = place.at_risk if bench.can.acks_surely else None
    await place.holds(repeats=risk, confirmed=20 * ROUNDS)


@fault(19, verbs=("processes",), seconds=10, soak=60)
async def told_to_end_busy_workers_finish_what_they_do_and_repeat_nothing(bench: Bench) -> None:
    """SIGTERM: all that run finish and are acknowledged, D = 0, exit within the grace."""
    place = Range(bench, ordered=False)  # so that all have something to do
    await bench.declare(place.consumer())
    publisher = await place.publisher(busy=0.6, failing=0.0, pause=1.5)  # fewer than moto gives, which is 30 a second
    stays = await place.worker()
    for _ in range(min(ROUNDS, 10)):
        leaver = await place.worker(grace=10.0)
        await bench.until(lambda leaver=leaver: leaver.journal().running > 2, "it is busy")  # type: ignore[misc]
        began = time.monotonic()
        assert await leaver.stop() == 0
        took = time.monotonic() - began
        assert took <= 10.0, f"it has 10 s of grace, and took {took:.1f} s"
        place.faults += 1
    assert await publisher.stop() == 0
    await place.calm()
    assert await stays.stop() == 0
    assert not place.numbers("cancelled"), "there was time for all of them"
    if bench.can.ordered or bench.can.acks_surely:
        await place.holds(each=0)
    else:
        await place.holds(each=1)
        bench.partial("a message may come twice though nothing is wrong")


@fault(20, verbs=("processes",), needs=("durable",), seconds=5)
async def what_takes_longer_than_the_grace_is_given_back_at_no_cost(bench: Bench) -> None:
    """SIGTERM: exit soon after the grace, D <= running."""
    place = Range(bench)
    held, leaver = await _at_work(place, grace=GRACE)
    idle = await bench.worker(bench.topic("idle", groups=["group"]), grace=GRACE)  # what ending a process takes here
    async with place.fault():
        took, least = await asyncio.gather(_ended(leaver), _ended(idle))
    said = f"it has {GRACE:g} s of grace, and took {took:.1f} s; one that was idle took {least:.1f} s"
    assert GRACE <= took <= GRACE + 4.0 + least, said
    await _others_have_it(place, held)
    attempts = {step.attempt for step in place.steps() if step.what == "started"}
    assert attempts == {1}, f"being ended has cost attempts: {attempts}"


@fault(21, verbs=("processes",), needs=("durable",), seconds=5)
async def told_twice_a_process_ends_at_once_and_nothing_is_lost(bench: Bench) -> None:
    """A second SIGTERM: exits fast, D <= running."""
    place = Range(bench)
    held, leaver = await _at_work(place, grace=60.0)
    async with place.fault():
        leaver.process.terminate()
        await bench.never(lambda: not leaver.alive, "it waits for its handlers", during=0.5)
        began = time.monotonic()
        code = await leaver.stop()
        took = time.monotonic() - began
    assert code == 128 + 15, f"it ended with {code}"
    assert took <= 6.0, f"after {took:.1f} s, and it had 60 s of grace"
    await _others_have_it(place, held)


async def _ended(worker: Worker) -> float:
    """Seconds from SIGTERM to its end."""
    began = time.monotonic()
    assert await worker.stop() == 0
    return time.monotonic() - began


async def _at_work(place: Range, *, grace: float) -> tuple[int, Worker]:
    """A worker whose handlers all wait, and how many do at most."""
    await place.bench.declare(place.consumer())
    worker = await place.worker(grace=grace, lease=LEASE)
    async with (
        place.bench.app("publisher").running(consume=False) as publisher,
        place.load(publisher, keys=KEYS_AT_WORK, do="wait", failing=0.0),
    ):
        await place.bench.until(lambda: worker.journal().running >= KEYS_AT_WORK, "a handler of each key is at work")
    return KEYS_AT_WORK if place.ordered else CONCURRENCY, worker


async def _others_have_it(place: Range, held: int) -> None:
    place.bench.open_gate()
    other = await place.worker()
    await place.calm()
    assert await other.stop() == 0
    await place.holds(each=held, confirmed=KEYS_AT_WORK)


@fault(22, verbs=("away",), seconds=12, soak=60)
async def told_to_stop_while_the_broker_is_gone_an_application_stops(bench: Bench) -> None:
    """Within its grace and a few seconds; nothing is left of it, D <= P."""
    await _stopped_in_an_outage(bench, reconnecting=False)


@fault(23, verbs=("away",), seconds=15, soak=60)
async def told_to_stop_while_it_reconnects_an_application_stops_and_connects_no_more(bench: Bench) -> None:
    """As row 22, and there is no new connection after."""
    await _stopped_in_an_outage(bench, reconnecting=True)


async def _stopped_in_an_outage(bench: Bench, *, reconnecting: bool) -> None:
    place, before, stack = Range(bench), in_use(), AsyncExitStack()
    app, link = place.consumer(stall_after=1.0), bench.broker.link
    await stack.enter_async_context(app.running())
    load = await stack.enter_async_context(place.load(app, deadline=2.0))
    complaints = list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(f"{context!r:.300}"))
    await place.busy()
    assert bench.broker.away is not None
    async with place.fault(bench.broker.away()):
        if reconnecting:
            await bench.until(lambda: app.health().status is not Status.UP, "it tries to connect", within=15.0)
            await asyncio.sleep(lasting(10.0, 1.0))  # some attempts long
        await load.end()
        began = time.monotonic()
        await stack.aclose()
        took = time.monotonic() - began
        accepted = link.accepted if link is not None else 0
    assert took <= 2.0 + MARGIN, f"after {took:.1f} s, with 2 s of grace"
    await place.left_nothing(before)
    assert not complaints, f"the event loop was told: {complaints}"
    if link is not None:
        await bench.never(lambda: link.accepted > accepted, "it has connected once more", during=2.0)
    other = place.consumer()
    async with other.running():
        await place.goes_on(other)
        await place.calm()
    await place.holds(each=WINDOW + KEYS)
    print(f"stopped within {took:.1f} s in process {os.getpid()}")
