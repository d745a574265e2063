"""Rows 24 to 31: what is cancelled, blocked, slow, or fails for ever in the service itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from waybill import App, PublishError, Retry, Status
from waybill_contracts.bench import Bench
from waybill_contracts.faults.fault import ROUNDS, SOAK, fault, lasting
from waybill_contracts.faults.range import CONCURRENCY, WINDOW, Range
from waybill_contracts.leftovers import resident
from waybill_contracts.tasks import Task, numbered, numbers_of


async def _turns(number: int, pause: float) -> None:
    """So many turns of the event loop, and then a while."""
    for _ in range(number):
        await asyncio.sleep(0)
    if pause:
        await asyncio.sleep(pause)


@fault(24, seconds=3)
async def a_publish_that_is_cancelled_at_any_moment_leaves_the_next_one_its_own_confirmation(bench: Bench) -> None:
    """Either not sent, or counted unknown; the next publish gets the confirmation of its own message."""
    topic = bench.topic(id=numbered)
    app, given = bench.receiver(topic)
    place = Range(bench)
    sent, cancelled = set[int](), set[int]()
    moments = [(turn, 0.0) for turn in range(25)] + [(0, place.chance.uniform(0, 0.02)) for _ in range(10 * ROUNDS)]
    async with app.running():
        await app.publish(topic, Task(-1))
        for number, moment in enumerate(moments):
            publishing = asyncio.create_task(app.publish(topic, Task(number, "even")))
            await _turns(*moment)
            publishing.cancel()
            with suppress(asyncio.CancelledError, PublishError):
                await publishing
                sent.add(number)
            cancelled |= {number} - sent
            confirmed = await app.publish(topic, Task(1000 + number, "odd"))
            assert confirmed.id == f"task-{1000 + number}", f"the confirmation of {confirmed.id}"
            sent.add(1000 + number)

        def numbers() -> Counter[int]:
            return Counter(numbers_of(given))

        await bench.until(lambda: sent | {-1} <= numbers().keys(), "all that was confirmed arrives")
        await bench.settled(topic)
        bench.once(numbers_of(given))
        assert numbers().keys() <= sent | cancelled | {-1}
    assert cancelled, "none was cancelled in time"


@fault(25, seconds=10, soak=120)
async def a_consumer_that_is_cancelled_at_any_moment_holds_nothing_back(bench: Bench) -> None:
    """While it starts, works or stops: no message stays unacknowledged."""
    place = Range(bench)
    moments = [(turn * 3, 0.0) for turn in range(4)]
    moments += [(0, place.chance.uniform(0, 0.3)) for _ in range(2 * min(ROUNDS, 25))]
    async with bench.app("publisher").running(consume=False) as publisher:
        await bench.declare(place.consumer())
        async with place.load(publisher, pause=0.2, busy=0.1):
            for moment in moments:
                await _cancelled(place, place.consumer(), moment)
        other = place.consumer()
        async with other.running():
            await place.calm()
            await place.goes_on(publisher)
    await place.holds()


async def _cancelled(place: Range, app: App, moment: tuple[int, float]) -> None:
    async def run() -> None:
        async with app.running():
            await asyncio.Event().wait()

    running = asyncio.create_task(run())
    await _turns(*moment)
    running.cancel()
    ended, _ = await asyncio.wait({running}, timeout=place.bench.patience)
    assert ended, f"cancelled after {moment}, it does not end"
    place.faults += 1


@fault(26, verbs=("processes",), needs=("durable",), seconds=12, soak=150)
async def a_worker_whose_loop_was_blocked_comes_back_by_itself(bench: Bench) -> None:
    """D <= P: others take over what it held, and what it does late is noticed."""
    place = Range(bench)
    await bench.declare(place.consumer())
    blocked = await place.worker(lease=2.0, timeout=200.0)
    async with bench.app("publisher").running(consume=False) as publisher:
        for seconds in (5, *((30, 90) if SOAK else ())):
            async with place.fault(), place.load(publisher, failing=0.0, busy=0.05):
                await place.busy()
                await bench.publish(place.topic, Task(seconds, "blocker", f"stall={seconds}"), app=publisher)
                await bench.until(lambda seconds=seconds: blocked.journal().of("started", seconds), "it is blocked")  # type: ignore[misc]
                other = await place.worker(lease=2.0)
                await asyncio.sleep(seconds)  # as long as it lasts
            await place.calm()
            assert await other.stop() == 0
            await place.goes_on(publisher)
    assert blocked.alive
    await place.holds(each=2 * WINDOW)


@fault(27, verbs=("processes",), seconds=12, soak=120)
async def a_slow_consumer_of_a_fast_publisher_holds_no_more_than_its_window(bench: Bench) -> None:
    """One a second against hundreds: memory within 20 MB, no disconnection, D = 0."""
    place = Range(bench)
    await bench.declare(place.consumer())
    publisher = await place.publisher(pad=20_000, failing=0.0, do="sleep=1")
    worker = await bench.worker(place.topic, ordered=place.ordered, concurrency=1, grace=2.0)
    await bench.until(lambda: len(place.numbers("ok")) > 500 and worker.journal().of("done"), "both work")
    before = [resident(process.pid) for process in (publisher, worker)]
    await asyncio.sleep(lasting(60.0, 5.0))  # as long as it lasts
    grown = [resident(process.pid) - megabytes for process, megabytes in zip((publisher, worker), before, strict=True)]
    assert worker.alive
    assert publisher.alive
    assert max(grown) <= 20, f"the publisher has {grown[0]:.0f} MB more, the worker {grown[1]:.0f} MB"
    assert not place.numbers("unknown") | place.numbers("refused"), "publishing failed"
    bench.once(worker.journal().numbers("started"))
    publisher.kill()
    worker.kill()


@fault(28, seconds=3)
async def a_message_that_always_fails_is_a_dead_letter_after_its_budget_and_holds_up_no_other(bench: Bench) -> None:
    """N attempts, then a dead letter with the reason."""
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic, concurrency=4, retry=Retry.fixed(3, delay=0.3))
    tasks = [Task(n, str(n), "fail" if n in {0, 1, 2, 3} else "") for n in range(40)]
    async with app.running():
        await bench.publish(topic, *tasks, app=app)
        await bench.until(lambda: len(set(journal.numbers())) == 36, "the others are handled")
        await bench.eventually(
            lambda: bench.dead(topic), lambda dead: len(dead) == 4, "the failing ones are dead letters"
        )
        await bench.settled(topic)
    for letter in await bench.dead(topic):
        assert letter.dead is not None
        assert letter.dead.reason == "retries_exhausted", f"the reason is {letter.dead.reason}"
    for number in range(4):
        assert journal.attempts(number) == [1, 2, 3], f"{number} had the attempts {journal.attempts(number)}"


@fault(29, verbs=("dead_end",), seconds=8)
async def where_dead_letters_cannot_be_placed_the_message_stays_and_nothing_spins(bench: Bench) -> None:
    """Not lost; few attempts; health says so; placed when it can be."""
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic)
    assert bench.broker.dead_end is not None
    async with app.running():
        await bench.publish(topic, Task(0, "a"), app=app)
        await bench.until(lambda: 0 in journal.numbers())
        async with bench.broker.dead_end(topic.name, "group"):
            await bench.publish(topic, Task(1, "b", "reject"), app=app)
            await bench.until(lambda: app.health().status is not Status.UP, "health says so")
            await asyncio.sleep(lasting(20.0, 2.0))  # as long as it lasts
            begun = len(journal.of("started", 1))
        assert begun <= 5, f"it was begun {begun} times"
        await bench.eventually(lambda: bench.dead(topic), bool, "it is placed when it can be")
        await bench.settled(topic)


@fault(30, verbs=("processes",), needs=("durable",), seconds=20, soak=250)
async def a_process_killed_while_it_makes_dead_letters_makes_each_of_them(bench: Bench) -> None:
    """In the dead letters never not, and at most once more for each kill; no more than was in flight in all."""
    place = Range(bench, ordered=False)
    await bench.declare(place.consumer())
    async with (
        bench.app("publisher").running(consume=False) as publisher,
        # Few, since ElasticMQ takes the longer to show a letter of a FIFO queue the more of them it hides.
        place.load(publisher, do="reject", failing=0.0, busy=0.1, pause=2.0),
    ):
        # Where its keys are held for as long as its lease, a new one has nothing to be killed at.
        worker = await place.worker(lease=2.0)
        while place.faults < ROUNDS:
            await asyncio.sleep(place.chance.uniform(0.1, 0.6))  # the moment of the kill is the experiment
            place.kill(worker)
            await worker.start()
    await bench.settled(place.topic, within=60.0)  # a dead letter takes several calls, and they have piled up
    await bench.eventually(place.dead, lambda dead: place.numbers("ok") <= dead, "all are dead letters", within=30.0)
    assert await worker.stop() == 0
    letters = Counter(await place.letters())
    often = {number: count for number, count in letters.items() if count > 1 + place.costly}
    assert not often, f"more than once more for each of {place.costly} kills: {often!r:.300}"
    copies = sum(letters.values()) - len(letters)
    most = place.at_risk if bench.can.acks_surely else place.costly * WINDOW
    assert copies <= most, f"{copies} more than one of each, and {most} may be: {place.at_risk} were being handled"
    print(f"{len(letters)} dead letters, {copies} twice; {place.kills} kills with {place.at_risk} in flight")


@fault(31, needs=("ordered",), seconds=3)
async def messages_of_a_key_keep_their_order_however_long_each_takes(bench: Bench) -> None:
    """Two consumers; the first of a key takes longest."""
    place = Range(bench, ordered=True)
    first, second = place.consumer(), place.consumer()
    seen = Counter[str]()

    @first.observe
    def handled(_: object) -> None:
        seen["first"] += 1

    async with first.running(), second.running():
        async with place.load(first, keys=2 * CONCURRENCY, busy=0.3, pause=0.2):
            await place.busy(80)
        await place.calm()
    await place.holds(each=0)
    if seen["first"] in {0, len(place.numbers("done"))}:
        bench.partial("at times one consumer handles all: who comes first keeps its keys, or all of them")
