"""Rows 1 to 10: the connections to the broker are cut, hang, or are slow."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AbstractContextManager

from waybill import App, Confirmed, Status, Unknown
from waybill_contracts.bench import Bench
from waybill_contracts.faults.fault import ROUNDS, fault, lasting
from waybill_contracts.faults.load import KEYS
from waybill_contracts.faults.proxy import Proxy
from waybill_contracts.faults.range import CONCURRENCY, Range
from waybill_contracts.harness import Broker
from waybill_contracts.leftovers import resident
from waybill_contracts.tasks import Step, Task

SEEN = 0.2
"""Seconds in which a client notices that its connection was reset."""


def link_of(broker: Broker) -> Proxy:
    assert broker.link is not None
    return broker.link


@fault(1, verbs=("cut",), seconds=2)
async def after_a_cut_while_nothing_happened_publishing_and_consuming_go_on(bench: Bench) -> None:
    """D = 0, T 5 s."""
    place = Range(bench)
    app = place.consumer()
    assert bench.broker.cut is not None
    async with app.running():
        async with place.load(app):
            await place.busy()
        await place.calm()
        async with place.fault():
            await bench.broker.cut()
            await asyncio.sleep(SEEN)
        await place.goes_on(app)
    await place.holds(each=0, within=5.0)


async def _cut_unconfirmed(bench: Bench, holding: AbstractContextManager[None]) -> tuple[Range, int]:
    """Publish while nothing is answered, cut, and publish once more what has no outcome; how many that were.

    None, where the broker knows again what it has: then all is confirmed once it was sent anew, and nothing comes twice.
    """
    place = Range(bench, ordered=False)
    app, tasks = place.consumer(), [Task(number, str(number)) for number in range(KEYS)]
    async with bench.app("publisher").running(consume=False) as publisher:
        await bench.declare(app)
        await bench.publish(place.topic, Task(1000, "warm"), app=publisher)
        async with place.fault():
            with holding:
                publishing = asyncio.create_task(publisher.publish_many(place.topic, tasks, deadline=30.0))
                await asyncio.sleep(1.0)  # as long as requests may need that nobody answers
                assert bench.broker.cut is not None
                await bench.broker.cut()
                await asyncio.sleep(SEEN)
        results = await publishing
        unknown = [task for task, result in zip(tasks, results, strict=True) if isinstance(result, Unknown)]
        known = all(isinstance(result, Confirmed) for result in results)
        assert unknown or known, f"all {KEYS} have an outcome, though nobody could know: {results[:3]}"
        again = await publisher.publish_many(place.topic, unknown)
        assert all(isinstance(result, Confirmed) for result in again), f"not when all is well again: {again!r:.300}"
    for task, result in [*zip(tasks, results, strict=True), *zip(unknown, again, strict=True)]:
        what = "ok" if isinstance(result, Confirmed) else "unknown" if isinstance(result, Unknown) else "refused"
        place.journal.steps.append(Step(what, task.number, task.key, 0, os.getpid(), time.monotonic()))
    async with app.running():
        await place.calm()
        await bench.until(lambda: 1000 in place.numbers("done"))
    return place, len(unknown)


@fault(2, verbs=("link", "cut"), seconds=5)
async def publishes_that_never_arrived_are_unknown_and_may_be_published_again(bench: Bench) -> None:
    """None lost; what was cut is reported unknown; D <= W per retry."""
    place, unknown = await _cut_unconfirmed(bench, link_of(bench.broker).silent())
    await place.holds(each=unknown, copies=min(1, unknown), confirmed=KEYS // 2)


@fault(3, verbs=("link", "cut"), seconds=5)
async def publishes_whose_confirmations_were_cut_are_unknown_and_come_twice_when_published_again(bench: Bench) -> None:
    """As row 2, and exactly as many come twice as were unknown: they had been stored."""
    place, unknown = await _cut_unconfirmed(bench, link_of(bench.broker).replies_held())
    await place.holds(each=unknown, copies=min(1, unknown), confirmed=KEYS // 2)
    begun = [step.number for step in place.steps() if step.what == "started"]
    twice = len(begun) - len(set(begun))
    if bench.can.dedup_window != 0.0 and twice < unknown:
        bench.partial("the broker drops what is published twice")
        return
    assert twice == unknown, f"{unknown} were stored and published again, and {twice} came twice"


@fault(4, verbs=("link", "cut"), seconds=4)
async def what_was_handled_when_its_acknowledgement_was_cut_is_repeated_at_most(bench: Bench) -> None:
    """D <= P; 0 where the process remembers what it has handled."""
    place = Range(bench)
    app, link = place.consumer(), link_of(bench.broker)
    async with app.running():
        async with place.load(app, failing=0.0, do="wait"):
            await bench.until(lambda: place.journal.running == CONCURRENCY, "handlers are at work")
        held = len(place.numbers("started"))
        async with place.fault():
            with link.silent():
                bench.open_gate()
                await bench.until(lambda: len(place.numbers("done")) >= held, "they end")
                link.cut()
                await asyncio.sleep(SEEN)
        await place.calm()
        await place.goes_on(app)
    await place.holds(each=len(place.numbers("started")), within=10.0, confirmed=CONCURRENCY)
    if len(place.journal.of("started")) > len(place.numbers("started")):
        bench.partial("at times what was handled is handled again by the same process")


@fault(5, verbs=("link", "cut"), seconds=4)
async def a_handler_whose_connection_is_cut_is_not_cancelled_unless_its_key_may_go_to_another(bench: Bench) -> None:
    """Unordered: not cancelled, and its acknowledgement fails softly. Ordered: no two of a key at once. D <= P."""
    for ordered in (False, True)[: 1 + bench.can.ordered]:
        place = Range(bench, "ordered" if ordered else "unordered", ordered=ordered)
        app = place.consumer()
        assert bench.broker.cut is not None
        async with app.running():
            async with place.load(app, failing=0.0, do="sleep=1"):
                await bench.until(lambda place=place: place.journal.running == CONCURRENCY, "they work")  # type: ignore[misc]
                async with place.fault():
                    await bench.broker.cut()
                    await asyncio.sleep(SEEN)
                await place.publishes()
                cancelled = place.numbers("cancelled")
                assert ordered or not cancelled, f"{len(cancelled)} were cancelled, though no order asks for it"
            await place.calm()
            await place.goes_on(app)
        await place.holds(within=10.0, confirmed=CONCURRENCY)


@fault(6, verbs=("silent",), seconds=8, soak=100)
async def where_nothing_is_answered_publishes_fail_in_time_and_all_goes_on_after(bench: Bench) -> None:
    """Publishing fails by its deadline; health says so; T 10 s."""
    assert bench.broker.silent is not None
    place = Range(bench)
    app = place.consumer(stall_after=2.0)
    async with app.running():
        await _through(place, app)
    await place.holds(within=10.0)


async def _through(place: Range, app: App, holding: AbstractContextManager[None] | None = None) -> None:
    """Publish through a silence of the broker, and see that it is noticed and gets over it."""
    bench, silent = place.bench, place.bench.broker.silent
    async with place.load(app, deadline=1.0):
        await place.busy()
        async with place.fault(silent() if silent is not None and holding is None else None):
            if holding is None:
                await _noticed(place, app)
            else:
                with holding:
                    await _noticed(place, app)
        await place.busy()
    await place.calm()
    await bench.until(lambda: app.health().status is Status.UP, "health says that it is over")
    await place.goes_on(app)


async def _noticed(place: Range, app: App) -> None:
    began = time.monotonic()
    await place.bench.until(
        lambda: place.numbers("unknown") | place.numbers("refused"),
        "publishing fails by its deadline of 1 s",
        within=5.0,
    )
    await place.bench.until(lambda: app.health().status is not Status.UP, "health says that nothing moves")
    await asyncio.sleep(max(0.0, began + lasting(60.0, 4.0) - time.monotonic()))  # as long as it lasts


@fault(7, verbs=("link",), seconds=8, soak=100)
async def where_replies_are_lost_publishes_are_unknown_in_time_and_all_goes_on_after(bench: Bench) -> None:
    """As row 6; what was stored meanwhile is handled."""
    place = Range(bench)
    app = place.consumer(stall_after=2.0)
    async with app.running():
        await _through(place, app, link_of(bench.broker).replies_held())
    await place.holds(within=10.0)


@fault(8, verbs=("link",), seconds=10, soak=60)
async def a_slow_network_makes_all_slower_and_fails_nothing(bench: Bench) -> None:
    """500 ms and as much jitter: fewer a second, no error, D = 0."""
    place = Range(bench)
    app = place.consumer()
    async with app.running():
        await place.goes_on(app)  # connected, and all declared
        with link_of(bench.broker).slow(0.5, 0.5):
            async with place.load(app, failing=0.0):
                await asyncio.sleep(lasting(30.0, 5.0))  # as long as it lasts
                await bench.until(
                    lambda: len(place.numbers("done")) >= CONCURRENCY, "messages are handled all the while"
                )
        await place.calm()
        await place.goes_on(app)
    await place.holds()
    assert not place.numbers("refused") | place.numbers("unknown"), "latency is no failure"


@fault(9, verbs=("throttle",), seconds=8, soak=60)
async def a_narrow_network_holds_publishers_up_and_costs_no_memory(bench: Bench) -> None:
    """Back-pressure reaches publish(); memory within 20 MB; D = 0."""
    place = Range(bench)
    assert bench.broker.throttle is not None
    app = bench.app("publisher", publish_buffer=10)
    consumer = place.consumer()
    async with app.running(consume=False), consumer.running():
        async with place.load(app, pad=300, failing=0.0, pause=0.0, busy=0.0, deadline=60.0):
            await place.busy(100)
            free = max([await _a_second(place) for _ in range(3)])  # a busy machine may take one of them
            memory = resident(os.getpid())
            async with bench.broker.throttle():
                narrow = await _a_second(place)
                await asyncio.sleep(lasting(30.0, 2.0))  # as long as it lasts
                grown = resident(os.getpid()) - memory
        await place.calm()
    assert narrow < free / 2, f"{narrow} were confirmed in a second, and {free} before: nobody was held up"
    assert grown <= 20, f"{grown:.0f} MB more"
    await place.holds()
    assert not place.numbers("refused") | place.numbers("unknown"), "being held up is no failure"


async def _a_second(place: Range) -> int:
    """How many are confirmed in a second."""
    before = len(place.numbers("ok"))
    await asyncio.sleep(1.0)
    return len(place.numbers("ok")) - before


@fault(10, verbs=("link",), seconds=20, soak=600)
async def a_connection_cut_after_any_byte_confirms_nothing_that_is_not_so(bench: Bench) -> None:
    """N = 1 … 4096 in either direction: no wrong success, no hang."""
    place = Range(bench)
    app, link = place.consumer(), link_of(bench.broker)
    sizes = [1, 7, 8, *(place.chance.randrange(2, 4097) for _ in range(4 * ROUNDS))]
    async with app.running():
        async with place.load(app, deadline=5.0, pause=0.5, failing=0.0):
            for size in sizes:
                async with place.fault():
                    link.cut_after(size, requests=place.chance.random() < 0.5)
                    await asyncio.sleep(place.chance.uniform(0.1, 0.5))
        link.cut_after(None)
        await place.calm()
        await place.goes_on(app)
    place.over.clear()  # one may not have happened before the next was armed
    await place.holds()
