"""L. Lifecycle: starting, stopping, and what is left behind."""

from __future__ import annotations

import asyncio
import signal
import time

from waybill import App, ClosedError, ConfigurationError, Status, Topic
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.leftovers import in_use, left_since
from waybill_contracts.tasks import Journal, Task
from waybill_contracts.workers import Worker


@behaviour("L05", seconds=3)
async def what_a_stopped_consumer_had_not_started_is_handled_by_another_within_three_seconds(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    slow, first = bench.consumer(topic, concurrency=1, window=20, lease=30.0, shutdown_grace=0.5)
    await bench.publish(topic, *(Task(n, str(n), "sleep=1.5" if n == 0 else "") for n in range(12)))
    other, second = bench.consumer(topic, lease=30.0)
    async with slow.running():
        await bench.until(lambda: first.of("started"), "the first is busy")
        await bench.until(lambda: (slow.health().parts[0].held or 0) >= 2, "it holds more than it has started")
    least = await _start(bench)
    stopped = time.monotonic()
    async with other.running():
        await bench.until(
            lambda: set(range(1, 12)) <= set(second.numbers()) | set(first.numbers()), "the other has them"
        )
        took = time.monotonic() - stopped
    assert took <= 3.0 + least, f"after {took:.1f} s; a consumer of a message that nobody had took {least:.1f} s"
    assert {step.attempt for step in second.of("started")} == {1}
    assert len(second.numbers()) == len(set(second.numbers()))


async def _start(bench: Bench) -> float:
    """Seconds that a consumer takes here to come and to handle what waits for it."""
    topic = bench.topic("waiting", groups=["group"])
    await bench.publish(topic, Task(0))
    app, journal = bench.consumer(topic)
    began = time.monotonic()
    async with app.running():
        await bench.until(journal.numbers, "it is handled")
        return time.monotonic() - began


@behaviour("L01", seconds=2)
async def an_application_can_be_started_again_and_a_second_start_disturbs_nothing(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic)
    starting = asyncio.create_task(_run(app))
    await asyncio.sleep(0)
    starting.cancel()  # it is told to end before it has started
    await asyncio.wait([starting])
    for turn in range(1, 4):
        async with app.running():
            refused = ""
            try:
                async with app.running():
                    pass
            except ConfigurationError as error:
                refused = str(error)
            assert "running already" in refused, f"a second start says: {refused or 'nothing'}"
            await bench.publish(topic, Task(turn, str(turn)), app=app)
            await bench.until(lambda turn=turn: turn in journal.numbers(), "it consumes each time it is started")  # type: ignore[misc]


async def _run(app: App) -> None:
    async with app.running():
        await asyncio.Event().wait()


@behaviour("L02", seconds=2)
async def told_to_stop_it_ends_what_it_has_begun_and_begins_nothing_new(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=2, shutdown_grace=10.0)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "sleep=1" if n < 2 else "") for n in range(8)), app=app)
        await bench.until(lambda: {0, 1} <= set(journal.numbers("started")), "two are at work, as many as may be")
        begun = len(journal.of("started"))
    assert len(journal.of("started")) == begun, "it began something new"
    assert len(journal.of("done")) == begun, "it did not end what it had begun"
    async with app.running():
        await bench.until(lambda: len(set(journal.numbers())) == 8, "the rest is handled when it is started again")
    bench.once(journal.numbers("started"))


@behaviour("L03", seconds=2)
async def what_does_not_end_by_the_deadline_is_cancelled_and_given_back_at_no_cost(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic, shutdown_grace=0.3)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "wait") for n in range(3)), app=app)
        await bench.until(lambda: journal.running == 3, "they are at work")
        stopping = time.monotonic()
    took = time.monotonic() - stopping
    assert took < 8.0, f"it has 0.3 s of grace, and took {took:.1f} s to stop"
    assert sorted(journal.numbers("cancelled")) == [0, 1, 2], "its handlers were not cancelled"
    bench.open_gate()
    other, later = bench.consumer(topic)
    async with other.running():
        await bench.until(lambda: len(set(later.numbers())) == 3, "they are given back, and handled by another")
    assert {step.attempt for step in later.steps} == {1}, "being stopped has cost an attempt"
    assert not await bench.dead(topic), "being stopped has made a dead letter"


@behaviour("L04", seconds=1)
async def what_is_published_while_it_is_stopped_is_received_when_it_is_started_again(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    async with app.running():
        await bench.publish(topic, Task(0, "a"), app=app)
        await bench.until(lambda: journal.numbers() == [0])
    await bench.publish(topic, *(Task(n, str(n)) for n in range(1, 6)))
    async with app.running():
        await bench.until(lambda: set(journal.numbers()) == set(range(6)), "what was published meanwhile is handled")
    bench.once(journal.numbers())


@behaviour("L06", seconds=3)
async def ten_that_stop_at_once_do_not_hold_each_other_up_and_leave_the_rest_to_a_new_one(bench: Bench) -> None:
    topic, journal, stop = bench.topic(), Journal(bench.gate), asyncio.Event()
    apps = [bench.consumer(topic, journal=journal, concurrency=2)[0] for _ in range(10)]
    ready: list[App] = []

    async def run(app: App) -> None:
        async with app.running():
            ready.append(app)
            await stop.wait()

    running = [asyncio.create_task(run(app)) for app in apps]
    await bench.until(lambda: len(ready) == 10, "ten run")
    await bench.publish_many(ready[0], topic, [Task(n, str(n), "sleep=0.1") for n in range(200)])
    await bench.until(lambda: len(journal.of("done")) >= 20, "they are at work")
    stop.set()
    ended, stuck = await asyncio.wait(running, timeout=bench.patience)
    for task in stuck:
        task.cancel()
    assert not stuck, f"{len(stuck)} of 10 have not stopped"
    for task in ended:
        task.result()
    left = 200 - len(set(journal.numbers()))
    assert left, "they handled all before they stopped"
    app, _ = bench.consumer(topic, journal=journal, concurrency=50)
    async with app.running():
        await bench.until(lambda: len(set(journal.numbers())) == 200, f"a new one handles the {left} that are left")
    bench.once(journal.numbers())


@behaviour("L07", seconds=1)
async def after_a_clean_stop_nothing_that_was_handled_comes_again(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    for turn in range(1, 4):
        async with app.running():
            await bench.publish_many(app, topic, [Task(n, str(n)) for n in range(50 * (turn - 1), 50 * turn)])
            await bench.until(lambda turn=turn: len(set(journal.numbers())) == 50 * turn, "all are handled")  # type: ignore[misc]
    async with app.running():
        await bench.never(lambda: len(journal.of("started")) > 160, "they come again")
    bench.once(journal.numbers("started"))


@behaviour("L08", seconds=3)
async def nothing_is_left_of_an_application_that_has_stopped(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)

    async def turn(number: int) -> None:
        async with app.running():
            await bench.publish(topic, Task(number, "a"), app=app)
            await bench.until(lambda: number in journal.numbers())

    await turn(0)  # what is made once and kept is no leak
    before, turns = in_use(), 8
    for number in range(1, 1 + turns):
        await turn(number)

    async def left() -> list[str]:
        return left_since(before, least=turns)

    await bench.eventually(left, lambda found: not found, f"it leaves nothing behind {turns} times, but")


@behaviour("L09", seconds=2)
async def after_its_end_an_application_says_that_it_is_closed_and_takes_nothing_more(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    other, others = bench.consumer(topic, concurrency=2, window=2)
    async with app.running():
        await bench.publish(topic, Task(0, "a"), app=app)
        await bench.until(lambda: journal.numbers() == [0])
        consumer = app.consumer(topic, group="group")
    closed = 0
    for use in (
        lambda: app.publish(topic, Task(1)),
        lambda: app.publish_many(topic, [Task(1)]),
        lambda: _look(app, topic),
    ):
        try:
            await use()
        except ClosedError:
            closed += 1
    assert closed == 3, "it can be used though it has ended"
    assert app.health().status is Status.DOWN, "its health is not down"
    assert not consumer.running, "its consumer still has handlers at work"
    async with other.running():
        await bench.publish_many(other, topic, [Task(n, str(n), "sleep=0.01") for n in range(10, 40)])
        await bench.until(lambda: len(set(others.numbers())) == 30, "another gets all that is published later")
    assert journal.numbers("started") == [0], "it has handled something after its end"


async def _look(app: App, topic: Topic[Task]) -> None:
    app.consumer(topic, group="group")


@behaviour("L10", verbs=("processes", "away"), needs=("durable",), seconds=8)
async def told_to_end_while_it_starts_or_while_the_broker_is_away_a_process_ends_in_time(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    await bench.publish(topic, Task(1, "a", "sleep=0.5"))
    consuming = await bench.worker(topic, grace=1.0)
    await bench.until(lambda: consuming.journal().running, "it is at work")
    assert bench.broker.away is not None
    async with bench.broker.away():
        await bench.until(lambda: consuming.journal().of("done"), "it has done what it cannot settle")
        starting = [await bench.worker(topic, ready=False, grace=1.0) for _ in range(3)]
        ends = [_ended(consuming, 0.5), *(_ended(worker, 0.2 + n / 2) for n, worker in enumerate(starting))]
        said = await asyncio.gather(*ends)
    assert not any(said), "; ".join(filter(None, said))


async def _ended(worker: Worker, after: float) -> str:
    """End it then; what is wrong about how it does. It may give up what the broker does not answer, and say so with 1."""
    await asyncio.sleep(after)
    if not worker.alive:  # it began while there was no broker, and said so
        return ""
    try:
        code = await worker.stop(within=20.0)  # its grace, some seconds for the broker, and a busy machine
    except TimeoutError:
        return f"told to end after {after:g} s, it has not in 20 s: {worker.errors[-300:]}"
    orderly = {0, 1, -signal.SIGTERM}  # by the signal itself, where it comes before the program has begun
    return "" if code in orderly else f"told to end after {after:g} s, it ended with {code}: {worker.errors[-300:]}"
