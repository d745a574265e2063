"""S. Time: what is published for later comes then, and what has expired is not handled."""

from __future__ import annotations

import asyncio
import time

from waybill import PublishRefused
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Journal, Task

LATE = 5.0
"""Seconds that a delayed message may come late."""
MONTH = 30 * 86400.0


@behaviour("S01", needs=("delays",), seconds=4)
async def a_delayed_message_comes_after_its_delay_and_soon_after(bench: Bench) -> None:
    topic, delay = bench.topic(), 3.0  # longer than a publish takes on a busy machine
    app, journal = bench.consumer(topic)
    async with app.running():
        began = time.monotonic()
        await bench.publish(topic, Task(1, "a"), app=app, delay=delay)
        stored = time.monotonic()
        await bench.publish(topic, Task(2, "b"), app=app)
        await bench.until(lambda: 2 in journal.numbers(), "what is not delayed comes at once")
        await bench.until(lambda: 1 in journal.numbers(), "it comes")
    assert _at(journal, 2) < _at(journal, 1), "what is not delayed waited for what is"
    early, late = _at(journal, 1) - began, _at(journal, 1) - stored
    assert early >= delay - 0.01, f"it came after {early:.2f} s, its delay is {delay:g} s"
    assert late <= delay + LATE, f"it came after {late:.2f} s, its delay is {delay:g} s"


@behaviour("S02", needs=("delays",), seconds=2)
async def a_long_delay_is_kept_or_refused_and_never_shortened(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    async with app.running():
        try:
            await bench.publish(topic, Task(1, "a"), app=app, delay=MONTH)
        except PublishRefused:
            bench.partial("a delay of a month is refused")
        await bench.publish(topic, Task(2, "b"), app=app)
        await bench.until(lambda: 2 in journal.numbers(), "others are handled")
        await bench.never(lambda: 1 in journal.numbers("started"), "it is handled now")
    if bench.notes:
        return
    async with app.running():
        backlog = await bench.backlog(topic)
        await bench.never(lambda: 1 in journal.numbers("started"), "it is handled when its consumer comes back")
    assert backlog.delayed.value in {1, None}, f"{backlog.delayed.value} messages are delayed"
    due = backlog.next_due.value
    assert due is None or MONTH - 600 < due <= MONTH, f"its delay is a month, and it comes in {due:.0f} s"


@behaviour("S03", needs=("delays",), seconds=5)
async def a_short_delay_does_not_wait_for_a_longer_one(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    async with app.running():
        began = time.monotonic()
        await bench.publish(topic, Task(1, "a"), app=app, delay=4.0)
        await bench.publish(topic, Task(2, "b"), app=app, delay=0.3)
        await bench.until(lambda: len(set(journal.numbers())) == 2, "both come")
    short, long = _at(journal, 2) - began, _at(journal, 1) - began
    assert short >= 0.29, f"the short delay of 0.3 s took {short:.2f} s"
    assert long >= 3.99, f"the long delay of 4 s took {long:.2f} s"
    assert short < long, "the short delay waited for the long one"


def _at(journal: Journal, number: int) -> float:
    """When a task was begun first."""
    return journal.of("started", number)[0].at


@behaviour("S05", seconds=2)
async def what_has_expired_is_not_handled_and_is_a_dead_letter(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    await bench.publish(topic, Task(1, "a"), expires=0.5)
    await bench.publish(topic, Task(2, "b"), expires=600.0)
    await asyncio.sleep(0.7)  # as long as it takes to expire
    app, journal = bench.consumer(topic, concurrency=1)
    async with app.running():
        await bench.until(lambda: 2 in journal.numbers(), "what has not expired is handled")
        await bench.publish(topic, Task(3, "c", "wait"), app=app)
        await bench.until(lambda: 3 in journal.numbers("started"))
        await bench.publish(topic, Task(4, "d"), app=app, expires=0.5)
        await asyncio.sleep(0.7)  # it expires while another is handled
        bench.open_gate()
        dead = await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 2, "both are dead letters")
    assert sorted(journal.numbers("started")) == [2, 3], "what has expired was handled"
    assert {letter.dead.reason for letter in dead if letter.dead} == {"expired"}


@behaviour("S08", verbs=("processes",), needs=("delays", "durable"), seconds=3)
async def delays_and_expiry_are_kept_on_a_machine_whose_clock_is_five_minutes_wrong(bench: Bench) -> None:
    """Whoever publishes and whoever consumes; the broker's own clock is right, where it has one of its own."""
    for name, skew in (("ahead", 300.0), ("behind", -300.0)):
        topic = bench.topic(name, groups=["group"])
        publish: list[tuple[int, dict[str, float]]] = [(1, {"delay": 1.5}), (2, {"expires": 60.0}), (3, {})]
        worker = await bench.worker(topic, skew=skew, publish=publish)
        await bench.until(lambda worker=worker: {2, 3} <= set(worker.journal().numbers()), "what is due now is handled")  # type: ignore[misc]
        within = bench.patience + 1.5
        await bench.until(lambda worker=worker: 1 in worker.journal().numbers(), "the delay ends", within=within)  # type: ignore[misc]
        steps = worker.journal()
        early = _at(steps, 1) - steps.of("publishing", 1)[0].at
        late = _at(steps, 1) - steps.of("published", 1)[0].at
        assert early >= 1.49, f"with a clock wrong by {skew:+.0f} s a delay of 1.5 s took {early:.2f} s"
        assert late <= 1.5 + LATE, f"with a clock wrong by {skew:+.0f} s a delay of 1.5 s took {late:.2f} s"
        assert not await bench.dead(topic), "something has expired"
