"""R. Retries: how often, how far apart, and for whom."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

from waybill import Retry, RetryBudget, Status
from waybill.retry import MINIMUM_DELAY
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import FAST, Bench
from waybill_contracts.tasks import Journal, Task

LATE = 6.0
"""Seconds that a retry may come late, on a machine that has other things to do."""
EARLY = 0.03
"""Seconds that the clocks of a process and of its broker may be apart."""


def waits(journal: Journal, number: int) -> list[float]:
    """Seconds from each failure of a task to its next attempt."""
    failed = [step.at for step in journal.of("failed", number)]
    started = [step.at for step in journal.of("started", number)][1:]
    return [later - before for before, later in zip(failed, started, strict=False)]


def between(least: float, most: float, waited: Sequence[float]) -> None:
    """Each of `waited` lies there, as far as clocks and machines allow."""
    said = ", ".join(f"{wait:.2f}" for wait in waited)
    assert waited, "it was not tried again"
    assert min(waited) >= least - EARLY, f"tried again after {said} s, and not before {least:g} s was said"
    assert max(waited) <= most + LATE, f"tried again after {said} s, and by {most:g} s was said"


@behaviour("R01", seconds=1)
async def a_handler_is_started_as_often_as_its_budget_says(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, retry=Retry.fixed(4, delay=0))
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "fail") for n in range(3)), app=app)
        await bench.until(lambda: len(journal.of("failed")) >= 12, "each is tried four times")
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 3, "then it is a dead letter")
    attempts = [journal.attempts(n) for n in range(3)]
    assert attempts == [[1, 2, 3, 4]] * 3, f"attempts: {attempts}"


@behaviour("R02", seconds=2)
async def a_retry_comes_when_its_delay_is_over_and_not_before(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, retry=Retry.fixed(3, delay=0.5))
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "fail=2") for n in range(3)), app=app)
        await bench.until(lambda: len(journal.of("done")) == 3, "all are handled in the end")
    between(0.5, 0.5, [wait for n in range(3) for wait in waits(journal, n)])


@behaviour("R03", verbs=("processes",), needs=("durable",), seconds=5)
async def a_retry_that_waits_outlives_the_process_that_asked_for_it(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    first = await bench.worker(topic, delay=2.0)
    await bench.publish(topic, Task(1, "a", "fail=1"))
    await bench.until(lambda: first.journal().of("failed"), "it fails")
    await bench.until(lambda: first.journal().of("settled"), "the broker has taken that")
    await bench.eventually(
        lambda: bench.backlog(topic),
        lambda backlog: backlog.delayed.value is None or backlog.delayed.value == 1,
        "its retry waits on the broker",
    )
    first.kill()
    second = await bench.worker(topic, delay=2.0)
    failed, there = first.journal().of("failed")[0].at, time.monotonic()
    await bench.until(lambda: second.journal().numbers() == [1], "it is handled by another process")
    assert second.journal().attempts(1) == [2], f"attempts there: {second.journal().attempts(1)}"
    # who starts takes its time on a busy machine, and nobody is there before
    between(2.0, max(2.0, there - failed), [second.journal().of("started")[0].at - failed])


@behaviour("R04", seconds=2)
async def a_message_that_waits_for_its_retry_holds_up_no_other(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=1, retry=Retry.fixed(2, delay=1.5))
    async with app.running():
        await bench.publish(topic, Task(0, "first", "fail=1"), app=app)
        await bench.until(lambda: journal.of("failed"), "the first fails")
        await bench.publish(topic, *(Task(n, str(n)) for n in range(1, 11)), app=app)
        await bench.until(lambda: len(journal.of("done")) == 11, "all are handled")
    assert journal.numbers()[-1] == 0, f"others waited for the retry: {journal.numbers()}"
    between(1.5, 1.5, waits(journal, 0))


@behaviour("R05", seconds=2)
async def attempts_of_every_kind_are_counted_together(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    retry = Retry.fixed(5, delay=0.3)
    app, journal = bench.consumer(topic, retry=retry)
    async with app.running():
        await bench.publish(topic, Task(1, "a", "after=0.5 fail"), app=app)
        await bench.until(lambda: len(journal.of("failed")) == 3, "asked for a time, failed twice")
    again, later = bench.consumer(topic, retry=retry)
    async with again.running():
        dead = await bench.eventually(lambda: bench.dead(topic), len, "it is a dead letter in the end")
    attempts = journal.attempts(1) + later.attempts(1)
    assert attempts == [1, 2, 3, 4, 5], f"attempts: {attempts}"
    assert [letter.dead.attempts for letter in dead if letter.dead] == [5]


@behaviour("R06", seconds=1)
async def what_is_never_to_be_retried_is_a_dead_letter_after_one_attempt(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, retry=Retry.fixed(5, delay=0.05, never=[ValueError]))
    async with app.running():
        await bench.publish(topic, Task(1, "a", "fail"), app=app)
        dead = await bench.eventually(lambda: bench.dead(topic), len, "it is a dead letter")
        await bench.never(lambda: len(journal.of("started")) > 1, "it is tried again", during=0.3)
    assert journal.attempts(1) == [1], f"attempts: {journal.attempts(1)}"
    assert [(letter.dead.reason, letter.dead.disposition) for letter in dead if letter.dead] == [
        ("non_retryable", "poison")
    ]


@behaviour("R07", seconds=2)
async def after_its_last_attempt_a_message_is_one_dead_letter_and_no_more(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic)
    other, others = bench.consumer(topic)
    async with bench.running(app, other):
        await bench.publish(topic, *(Task(n, str(n), "fail") for n in range(10)), app=app)
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) >= 10, "all are dead letters")
        await bench.settled(topic)
        await bench.never(lambda: len(journal.of("started") + others.of("started")) > 30, "one is tried again")
    dead = await bench.dead(topic)
    ids = [letter.id for letter in dead]
    bench.once([ids.index(ident) for ident in ids])
    assert {(letter.dead.reason, letter.dead.attempts) for letter in dead if letter.dead} == {("retries_exhausted", 3)}
    assert sorted(journal.numbers("started") + others.numbers("started")) == sorted(list(range(10)) * 3)


@behaviour("R08", seconds=1)
async def a_retry_in_one_group_is_seen_by_no_other(bench: Bench) -> None:
    topic = bench.topic()
    failing, tries = bench.consumer(topic, "failing")
    calm, quiet = bench.app("calm"), list[int]()

    @calm.consume(topic)
    async def handle(task: Task) -> None:
        quiet.append(task.number)

    async with bench.running(failing, calm):
        await bench.publish(topic, *(Task(n, str(n), "fail=2" if n % 2 else "fail") for n in range(10)), app=failing)
        await bench.until(lambda: len(tries.of("failed")) == 25, "5 fail twice, 5 to their end")
        await bench.until(lambda: len(quiet) == 10)
        await bench.never(lambda: len(quiet) > 10, "a copy reaches the other group")
    assert sorted(quiet) == list(range(10))
    assert len(await bench.dead(topic, "failing")) == 5
    assert not await bench.dead(topic, "calm")


@behaviour("R09", seconds=4)
async def what_is_too_old_is_tried_no_more(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, retry=Retry.fixed(100, delay=0.5, max_age=3.0))
    async with app.running():
        await bench.publish(topic, Task(1, "a", "fail"), app=app)
        (letter,) = await bench.eventually(lambda: bench.dead(topic), len, "it is a dead letter")
        tried = len(journal.of("started"))
        await bench.never(lambda: len(journal.of("started")) > tried, "it is tried again")
    assert letter.dead is not None
    assert letter.dead.reason == "expired", f"the reason is {letter.dead.reason}"
    assert 1 < tried <= 7, f"{tried} attempts, 0.5 s apart, within three seconds"


@behaviour("R10", seconds=3)
async def delays_grow_up_to_their_cap_and_are_spread_by_chance(bench: Bench) -> None:
    told = await _spread(bench, "short", 0.6, 0.9)
    if told:  # short delays drown in how late all is on a busy machine, four times as long ones in no more
        told = await _spread(bench, "long", 2.4, 3.6)
    assert not told, f"not spread by chance: {told}"


async def _spread(bench: Bench, name: str, first: float, cap: float) -> str:
    """What is wrong with the delays of two retries; empty if they are spread between nothing and `first`, then `cap`."""
    topic = bench.topic(name)
    retry = Retry.exponential(3, first=first, factor=2.0, cap=cap)
    by_the_clock = range(200, 240)
    app, journal = bench.consumer(topic, concurrency=50, retry=retry)
    async with app.running():
        tasks = [Task(n, str(n), "after=0.5" if n in by_the_clock else "fail=2") for n in range(240)]
        await bench.publish_many(app, topic, tasks)
        await bench.until(lambda: len(set(journal.numbers())) == 240, "all are handled in the end")
    lateness = [waits(journal, n)[0] - 0.5 for n in by_the_clock]  # as all are on a busy machine
    late, latest = statistics.median(lateness), LATE + max(lateness)
    for place, ceiling in enumerate((first, cap)):
        waited = sorted(waits(journal, n)[place] for n in range(200))
        low, high = waited[20], waited[180]
        assert waited[-1] <= ceiling + latest, f"one waited {waited[-1]:.2f} s, and {ceiling} s were the most"
        if not (low - late < ceiling / 2 < high and high - low > ceiling / 3):
            return f"a tenth waited less than {low:.2f} s, a tenth more than {high:.2f} s, up to {ceiling} s"
    return ""


@behaviour("R11", seconds=9)
async def waiting_and_handling_longer_than_a_lease_is_no_second_handling(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    retry = Retry.fixed(3, delay=2.5)
    app, journal = bench.consumer(topic, lease=2.0, retry=retry)
    other, others = bench.consumer(topic, lease=2.0, retry=retry)
    async with bench.running(app, other):
        await bench.publish(topic, *(Task(n, str(n), "sleep=2.5 fail=1") for n in range(3)), app=app)
        await bench.until(lambda: len(journal.of("done") + others.of("done")) == 3, "all are handled")
        await bench.settled(topic)
    for n in range(3):
        attempts = sorted(journal.attempts(n) + others.attempts(n))
        assert attempts == [1, 2], f"message {n} was started as attempts {attempts}"


@behaviour("R12", seconds=2)
async def the_time_that_a_handler_asks_for_is_the_time_it_gets(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, retry=FAST)
    async with app.running():
        await bench.publish(topic, Task(1, "a", "after=1"), app=app)
        await bench.until(lambda: journal.numbers() == [1], "it is handled then")
    between(1.0, 1.0, waits(journal, 1))


@behaviour("R13", seconds=2)
async def without_a_delay_a_retry_waits_for_the_least_there_is(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, retry=Retry.fixed(30, delay=0))
    async with app.running():
        await bench.publish(topic, Task(1, "a", "fail"), app=app)
        await bench.eventually(lambda: bench.dead(topic), len, "it is a dead letter in the end")
    waited = waits(journal, 1)
    assert len(waited) == 29
    assert min(waited) >= MINIMUM_DELAY * 0.9, f"tried again after {min(waited) * 1000:.1f} ms"


@behaviour("R14", verbs=("away",), seconds=8)
async def while_a_retry_cannot_be_placed_the_message_stays(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    assert bench.broker.away is not None
    async with app.running():
        await bench.publish(topic, Task(1, "a", "sleep=0.5 fail=1"), app=app)
        await bench.until(lambda: journal.of("started"), "its handler runs")
        async with bench.broker.away():
            await bench.until(lambda: journal.of("failed"), "it fails")
            await bench.until(
                lambda: app.health().status is not Status.UP, "health says that its retry cannot be placed"
            )
        await bench.until(lambda: journal.numbers() == [1], "it is tried again when that is over")
        await bench.until(lambda: app.health().status is Status.UP, "health says so")
        await bench.settled(topic)
    assert journal.attempts(1) == [1, 2], f"attempts: {journal.attempts(1)}"


@behaviour("R15", seconds=4)
async def restarts_and_failures_together_never_exceed_the_budget(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    retry = Retry.fixed(5, delay=0.3)
    app, journal = bench.consumer(topic, retry=retry, shutdown_grace=0.1)
    for run in range(4):
        async with app.running():
            if not run:
                await bench.publish(topic, *(Task(n, str(n), "fail") for n in range(3)), app=app)
            least = 3 * (run + 1)
            await bench.until(lambda least=least: len(journal.of("failed")) >= least, "tried on")  # type: ignore[misc]
    async with app.running():
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 3, "they are dead letters")
        await asyncio.sleep(0.4)  # another attempt would come by now
    attempts = [journal.attempts(n) for n in range(3)]
    assert attempts == [[1, 2, 3, 4, 5]] * 3, f"attempts over five runs: {attempts}"


@behaviour("R16", seconds=5)
async def retries_are_no_more_than_their_budget_and_nothing_is_given_up_for_it(bench: Bench) -> None:
    topic = bench.topic()
    budget, number = RetryBudget(0.2, least=0.0, window=20.0), 60
    app, journal = bench.consumer(topic, retry=Retry.fixed(2, delay=0.05), budget=budget)
    async with app.running():
        await bench.publish_many(app, topic, [Task(n, str(n), "fail=1") for n in range(number)])
        await bench.until(lambda: len(set(journal.numbers("started"))) == number, "each is tried")

        def retries() -> int:
            return sum(step.attempt > 1 for step in journal.of("started"))

        most = budget.share * len(journal.of("started")) / (1 - budget.share) + budget.always + 2
        await bench.never(lambda: retries() > most, f"more than {most:g} of {number} are tried again", during=1.0)
        await bench.publish_many(app, topic, [Task(n, str(n)) for n in range(number, 2 * number)])
        before = retries()
        await bench.until(lambda: retries() > before, "more are tried again when more are well")
    assert not await bench.dead(topic)
