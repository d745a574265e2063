"""F. Flow: how much at once, for how long, and when not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from waybill import Batch, CircuitBreaker, Delivery, RateLimit, Retry
from waybill.retry import MINIMUM_DELAY
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Journal, Task


@behaviour("F01", seconds=1)
async def as_many_handlers_run_at_once_as_were_asked_for(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=10)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "wait") for n in range(20)), app=app)
        await bench.until(lambda: journal.running == 10, "ten run at once")
        await bench.never(lambda: journal.running > 10, "more than ten run at once")
        bench.open_gate()
        await bench.until(lambda: sorted(journal.numbers()) == list(range(20)), "all are handled")


@behaviour("F02", seconds=3)
async def the_number_of_handlers_can_be_changed_while_they_run(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=10, shutdown_grace=0.1)
    async with app.running():
        # Faster than they are handled.
        await bench.publish_many(app, topic, [Task(n, str(n), "sleep=0.2") for n in range(150)])
        await bench.until(lambda: journal.running == 10, "ten run at once")
        consumer = app.consumer(topic, group="group")
        consumer.concurrency = 2
        await bench.until(lambda: journal.running <= 2, "fewer as they end")
        await bench.never(lambda: journal.running > 2, "more than two run at once")
        consumer.concurrency = 5
        await bench.until(lambda: journal.running == 5, "more at once")
        await bench.never(lambda: journal.running > 5, "more than five run at once")


@behaviour("F03", seconds=1)
async def no_more_is_held_than_the_window_and_the_rest_is_for_others(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    busy, stuck = bench.consumer(topic, concurrency=4, window=12)
    other, handled = bench.app("group"), set[int]()

    @other.consume(topic)
    async def handle(task: Task) -> None:
        handled.add(task.number)

    await bench.publish(topic, *(Task(n, str(n), "wait") for n in range(60)))
    async with busy.running():
        await bench.until(lambda: stuck.running == 4, "four are at work")
        await bench.never(lambda: busy.health().parts[0].held > 12, "more than its window is held")
        async with other.running():
            await bench.until(lambda: len(handled) >= 48, f"the other gets the rest, and got {len(handled)}")
            bench.open_gate()
            await bench.until(lambda: handled | set(stuck.numbers()) == set(range(60)), "all are handled")


@behaviour("F04", seconds=7)
async def blocked_handlers_hold_a_bounded_number_keep_it_and_go_on(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    journal = Journal(bench.gate)
    apps = [bench.consumer(topic, journal=journal, lease=2.0, concurrency=4, window=8)[0] for _ in range(2)]
    idle, rest = bench.app("group", lease=2.0), list[int]()

    @idle.consume(topic)
    async def handle(task: Task) -> None:
        rest.append(task.number)

    await bench.publish(topic, *(Task(n, str(n), "wait") for n in range(40)))
    async with bench.running(*apps):
        await bench.until(lambda: journal.running >= 4, "handlers are blocked")

        def held() -> int:
            return max(app.health().parts[0].held for app in apps)

        await bench.never(lambda: held() > 8, "more than a window is held")
        async with idle.running():
            await bench.never(lambda: held() > 8, "more than a window is held", during=5.0)
            bench.open_gate()
            await bench.until(lambda: set(journal.numbers() + rest) == set(range(40)), "all are handled after that")
            await bench.settled(topic)
    bench.once(journal.numbers("started") + rest)


@behaviour("F05", seconds=3)
async def while_paused_no_handler_starts_and_what_came_is_handled_afterwards(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, lease=1.0)
    async with app.running():
        await bench.publish(topic, Task(0), app=app)
        await bench.until(lambda: journal.numbers() == [0], "it consumes")
        consumer = app.consumer(topic, group="group")
        consumer.pause()
        await bench.publish(topic, *(Task(n, str(n)) for n in range(1, 11)), app=app)
        await bench.never(lambda: len(journal.of("started")) > 1, "a handler starts", during=2.0)
        consumer.resume()
        await bench.until(lambda: set(journal.numbers()) == set(range(11)), "all are handled afterwards")
        await bench.settled(topic)
    bench.once(journal.numbers("started"))


@behaviour("F06", seconds=7)
async def a_handler_that_runs_for_three_leases_is_the_only_one(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, lease=2.0)
    other, others = bench.consumer(topic, lease=2.0)
    async with bench.running(app, other):
        await bench.publish(topic, *(Task(n, str(n), "sleep=6") for n in range(4)), app=app)
        await bench.until(lambda: len(journal.of("done")) + len(others.of("done")) == 4, "all are handled")
        await bench.never(lambda: len(journal.of("started")) + len(others.of("started")) > 4, "one is handled twice")
    assert {step.attempt for step in journal.steps + others.steps} == {1}


@behaviour("F07", verbs=("processes",), needs=("durable",), seconds=4)
async def when_a_lease_is_lost_the_handler_is_cancelled_and_its_result_does_not_count(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    first, second = await bench.taken_over(topic, Task(1, "a", "wait"))
    first.go_on()
    await bench.until(lambda: first.journal().of("cancelled"), "the first one's handler is cancelled")
    bench.open_gate()
    await bench.until(lambda: second.journal().numbers() == [1], "the second handles it")
    assert not first.journal().of("done")
    await bench.eventually(lambda: bench.backlog(topic), lambda b: not b.ready.value and not b.in_flight.value)
    assert not await bench.dead(topic)


@behaviour("F08", seconds=5)
async def while_its_circuit_is_open_nothing_is_fetched_nothing_spent_and_a_probe_closes_it(bench: Bench) -> None:
    topic, bank = bench.topic(groups=["group"]), CircuitBreaker("bank", calls=4, open_for=0.8, cap=0.8)
    app, journal, down = bench.app(lease=1.0), Journal(bench.gate), True
    other, others = bench.consumer(topic, lease=1.0)

    @app.consume(topic, breaker=bank, concurrency=2, window=6, retry=Retry.fixed(2, delay=0.2))
    async def handle(task: Task, delivery: Delivery[Task]) -> None:
        journal.note("started", task, delivery)
        await asyncio.sleep(0.05)
        journal.note("failed" if down else "done", task, delivery)
        if down:
            raise ConnectionError

    def done() -> set[int]:
        return set(journal.numbers() + others.numbers())

    def held() -> int:
        return app.health().parts[0].held

    await bench.publish(topic, *(Task(n, str(n)) for n in range(30)))
    async with app.running():
        await bench.until(lambda: bank.state == "open" and not app.health().parts[0].running, "it opens")
        spent = len(journal.of("failed"))
        assert spent <= 4, f"{spent} attempts until it opened"
        async with other.running():
            await bench.until(others.numbers, "others go on")
            await bench.never(lambda: journal.running > 1 or held() > 6, "more than a probe runs", during=1.8)
            probes = bank.describe().transitions["half-open"]
            assert probes, "it is never probed"
            assert len(journal.of("started")) <= spent + probes, "more is tried than the probes"
            down = False
            await bench.until(lambda: done() == set(range(30)), lambda: f"all is handled afterwards, and not {done()}")
            await bench.until(lambda: bank.state == "closed", "a probe closes it")
        await bench.publish(topic, *(Task(n, str(n)) for n in range(30, 40)), app=app)
        await bench.until(lambda: set(range(30, 40)) <= set(journal.numbers()), "it fetches as before")
        await bench.settled(topic)

        bank.open()
        await bench.publish(topic, Task(40, "40"))
        with suppress(AssertionError):  # what it had asked for before may still come
            await bench.until(held, within=5.0)
        before = held()
        await bench.publish(topic, *(Task(n, str(n)) for n in range(41, 45)))
        await bench.never(lambda: held() > before, "it fetches while the circuit is open", during=1.0)
        bank.close()
        await bench.until(lambda: set(range(40, 45)) <= set(journal.numbers()), "what lay ready is handled")
        await bench.settled(topic)
    bench.once(journal.numbers() + others.numbers())
    again = {step.number for step in journal.steps + others.steps if step.attempt > 1}
    assert len(again) <= 1, f"an attempt was spent while the circuit was open, of {again}"  # one before it opened
    assert not await bench.dead(topic)


@behaviour("F09", seconds=5)
async def as_many_handlings_start_as_the_limit_says_and_what_it_holds_back_is_for_others(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic, limit=RateLimit(RATE), lease=3.0)
    other, others = bench.consumer(topic, lease=3.0)
    async with app.running():
        await bench.publish_many(app, topic, [Task(n, str(n)) for n in range(NUMBER)])
        holds = app.consumer(topic, group="group")

        def starts_as_told() -> bool:
            assert holds.held <= 2 * RATE, f"{holds.held} are held, and {RATE} start in a second"
            counts = _in_stretches([step.at for step in journal.of("started")], STRETCH)
            assert max(counts, default=0) <= 1.1 * RATE * STRETCH, f"{max(counts)} start in {STRETCH:g} s"
            return max(counts, default=0) >= 0.9 * RATE * STRETCH  # on a busy machine not in every stretch

        await bench.until(starts_as_told, f"{0.9 * RATE * STRETCH:g} start in {STRETCH:g} s", every=0.05)
        async with other.running():
            await bench.until(lambda: len({*journal.numbers(), *others.numbers()}) == NUMBER, "all are handled")
            await bench.settled(topic)
    bench.once(journal.numbers("started") + others.numbers("started"))
    assert len(others.numbers()) >= RATE, "the other one gets none"
    assert {step.attempt for step in journal.steps + others.steps} == {1}


RATE, STRETCH, NUMBER = 20, 2.0, 140
"""Handlings a second; the seconds that are looked at; and messages for so long that others get some."""


def _in_stretches(times: Sequence[float], seconds: float) -> list[int]:
    """How many lie in each stretch of so many seconds that begins with one of them."""
    return [sum(first <= at < first + seconds for at in times) for first in times]


@behaviour("F10", seconds=3)
async def a_batch_is_handled_when_it_is_full_or_its_time_is_over(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, batches = bench.app(), list[tuple[float, int]]()

    @app.consume(topic, batch=Batch(5, wait=2.0))
    async def handle(tasks: list[Task]) -> None:
        batches.append((time.monotonic(), len(tasks)))

    async with app.running():
        began = time.monotonic()
        await bench.publish_many(app, topic, [Task(n, str(n)) for n in range(12)])
        ended = time.monotonic()
        await bench.until(lambda: sum(size for _, size in batches) >= 12, "all are handled")
    assert [size for _, size in batches] == [5, 5, 2], f"batches of {[size for _, size in batches]}"
    full, last = batches[1][0] - ended, batches[2][0] - began
    assert full < 1.8, f"a full batch waited for {full:.1f} s"
    assert 1.9 <= last < 8, f"a batch that is not full waited for {last:.1f} s, and was to wait for 2"


@behaviour("F11", seconds=3)
async def a_consumer_with_nothing_to_do_does_next_to_nothing(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    async with app.running():
        await bench.publish(topic, Task(1), app=app)
        await bench.until(lambda: journal.numbers() == [1], "it consumes")
        before = time.process_time()
        await asyncio.sleep(2.0)  # nothing happens, for so long
        used = time.process_time() - before
        await bench.publish(topic, Task(2), app=app)
        await bench.until(lambda: journal.numbers() == [1, 2], "it still does")
    assert used < 0.2, f"{used:.2f} s of a processor in 2 s of waiting"


@behaviour("F12", seconds=2)
async def a_busy_topic_does_not_starve_the_other_of_the_same_handlers(bench: Bench) -> None:
    hot, cold = bench.topic("hot", groups=["group"]), bench.topic("cold", groups=["group"])
    app, journal = bench.consumer([hot, cold], concurrency=2)
    await bench.publish(hot, *(Task(n, str(n), "sleep=0.01") for n in range(300)))
    async with app.running():
        await bench.until(lambda: len(journal.of("done")) >= 5, "the busy topic is handled")
        await bench.publish(cold, *(Task(n, str(n)) for n in range(1000, 1005)), app=app)
        await bench.until(lambda: len(set(journal.numbers())) == 305, "all are handled")
    last = max(place for place, number in enumerate(journal.numbers()) if number >= 1000)
    behind = len(journal.numbers()) - last
    assert behind > 50, f"the other topic was handled when only {behind} of the busy one were left"


@behaviour("F13", seconds=2)
async def what_fails_for_ever_without_a_delay_does_not_spin(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, retry=Retry.fixed(1_000_000, delay=0), shutdown_grace=0.1)
    async with app.running():
        await bench.publish(topic, Task(1, "a", "fail"), app=app)
        await bench.until(lambda: journal.of("failed"), "it fails")
        began, before = time.monotonic(), len(journal.of("started"))
        await asyncio.sleep(1.0)  # it goes on failing
        attempts, most = len(journal.of("started")) - before, (time.monotonic() - began) / MINIMUM_DELAY + 2
        await bench.publish(topic, Task(2, "b"), app=app)
        await bench.until(lambda: 2 in journal.numbers(), "others are handled meanwhile")
    assert 1 <= attempts <= most, f"{attempts} attempts in a second"


@behaviour("F14", seconds=4)
async def while_one_key_waits_for_its_limit_the_others_pass_and_no_attempt_is_spent(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, limit=RateLimit(5, by="key"), concurrency=2, window=8, lease=2.0)
    hot, cold = [Task(n, "hot") for n in range(12)], [Task(n, str(n)) for n in range(12, 32)]
    async with app.running():
        await bench.publish_many(app, topic, [*hot, *cold])
        await bench.until(lambda: len(journal.of("done")) == 32, lambda: f"all are handled: {journal.numbers()}")
        await bench.settled(topic)
    order, hot_at = journal.numbers("started"), [step.at for step in journal.of("started") if step.key == "hot"]
    assert max(_in_stretches(hot_at, 1.0)) <= 6, f"of one key {max(_in_stretches(hot_at, 1.0))} start in a second"
    assert order[-1] < len(hot), "others wait for it"
    bench.once(order)
    assert {step.attempt for step in journal.steps} == {1}, "it costs attempts"
    assert not await bench.dead(topic)
