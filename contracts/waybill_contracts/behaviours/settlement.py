"""A. Settlement: what an acknowledgement, a failure and a release mean."""

from __future__ import annotations

import asyncio
from typing import Any

from waybill import Batch, Delivery, ItemsFailed, Reject, Retry, Status, Topic
from waybill.outcomes import ACK, DONE, LOST, RELEASE, Settled
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import FAST, Bench
from waybill_contracts.tasks import Task


@behaviour("A01", verbs=("processes",), needs=("durable",), seconds=4)
async def what_a_killed_process_held_goes_to_another_member(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    first = await bench.worker(topic, lease=2.0)
    await bench.publish(topic, *(Task(n, str(n), "wait") for n in range(3)))
    await bench.until(lambda: set(first.journal().numbers("started")) == {0, 1, 2}, "the first has them")
    first.kill()
    bench.open_gate()
    second = await bench.worker(topic, lease=2.0)
    await bench.until(lambda: set(second.journal().numbers()) == {0, 1, 2}, "another member handles them")
    await bench.settled(topic)


@behaviour("A02", seconds=2)
async def what_was_acknowledged_does_not_come_again_after_a_restart(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n)) for n in range(20)), app=app)
        await bench.until(lambda: len(set(journal.numbers())) == 20, "all are handled")
    again, later = bench.consumer(topic)
    async with again.running():
        await bench.publish(topic, Task(99), app=again)
        await bench.until(lambda: 99 in later.numbers(), "what is new comes")
        await bench.settled(topic)
    bench.once(journal.numbers("started") + later.numbers("started"))


@behaviour("A03", seconds=3)
async def what_one_member_handles_is_handed_to_no_other(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    first, journal = bench.consumer(topic, lease=4.0)
    async with first.running():
        await bench.publish(topic, *(Task(n, str(n), "wait") for n in range(5)), app=first)
        await bench.until(lambda: journal.running == 5, "the first has all of them")
        second, others = bench.consumer(topic, lease=4.0)
        async with second.running():
            await bench.publish(topic, Task(9, "other"), app=first)
            await bench.until(lambda: 9 in journal.numbers() + others.numbers())
            await asyncio.sleep(2.5)  # the other member could have taken them
            bench.open_gate()
            await bench.until(lambda: set(journal.numbers() + others.numbers()) == {0, 1, 2, 3, 4, 9})
    bench.once(journal.numbers("started") + others.numbers("started"))


@behaviour("A04", verbs=("processes",), needs=("durable",), seconds=4)
async def what_was_not_acknowledged_comes_back_after_a_crash_and_nothing_else(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    first = await bench.worker(topic, lease=2.0)
    await bench.publish(topic, *(Task(n, str(n), "wait" if n in {3, 5} else "") for n in range(1, 6)))
    await bench.until(lambda: sorted(first.journal().numbers()) == [1, 2, 4], "1, 2 and 4 are handled")
    await bench.until(lambda: set(first.journal().numbers("started")) == {1, 2, 3, 4, 5})
    await bench.eventually(
        lambda: bench.backlog(topic),
        lambda backlog: (backlog.in_flight.value or 0) + (backlog.ready.value or 0) <= 2,
        "their acknowledgements have arrived",
    )
    first.kill()
    bench.open_gate()
    second = await bench.worker(topic, lease=2.0)
    await bench.until(lambda: {3, 5} <= set(second.journal().numbers("started")), "3 and 5 come back")
    await bench.never(lambda: {1, 2} & set(second.journal().numbers("started")), "1 and 2 come back", during=1.0)
    if 4 in second.journal().numbers("started"):
        bench.partial("at times what is acknowledged behind what is not comes again after a crash")


@behaviour("A05", seconds=1)
async def what_failed_comes_again_with_one_attempt_more(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), f"fail={n}") for n in range(3)), app=app)
        await bench.until(lambda: len(journal.of("started")) >= 6, "one fails once, one twice")
    attempts = {n: journal.attempts(n) for n in range(3)}
    assert attempts == {0: [1], 1: [1, 2], 2: [1, 2, 3]}, f"attempts by message: {attempts}"


@behaviour("A06", seconds=1)
async def a_failed_message_comes_back_though_a_later_one_was_acknowledged(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=1)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "fail=1" if n == 5 else "") for n in range(1, 9)), app=app)
        await bench.until(lambda: len(journal.of("done")) == 8, "all are handled, the failed one as well")
    assert journal.attempts(5) == [1, 2]
    assert sorted(journal.numbers()) == list(range(1, 9))
    async with app.running():
        await bench.never(lambda: len(journal.of("started")) > 9, "something comes again")


@behaviour("A07", seconds=2)
async def what_is_released_comes_again_with_the_attempt_it_had(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic, shutdown_grace=0.1)
    async with app.running():
        await bench.publish(topic, Task(1, "a", "wait"), Task(2, "b", "fail=1 wait"), app=app)
        await bench.until(lambda: (journal.attempts(1), journal.attempts(2)) == ([1], [1, 2]), "both are at work")
    again, later = bench.consumer(topic)
    bench.open_gate()
    async with again.running():
        await bench.until(lambda: sorted(later.numbers()) == [1, 2], "both are handled after all")
    assert len(journal.of("cancelled")) == 2
    attempts = later.attempts(1), later.attempts(2)
    assert attempts == ([1], [2]), f"the attempts after a release: {attempts}"


@behaviour("A08", seconds=1)
async def what_is_rejected_is_a_dead_letter_once_and_never_comes_again(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    async with app.running():
        await bench.publish(topic, Task(1, "a", "reject"), Task(2, "b"), app=app)
        dead = await bench.eventually(lambda: bench.dead(topic), len, "it is a dead letter")
        await bench.until(lambda: 2 in journal.numbers(), "the other is handled")
        await bench.never(lambda: len(journal.attempts(1)) > 1, "it is handled again")
    assert [(letter.dead.reason, letter.dead.detail) for letter in dead if letter.dead] == [("rejected", "as told")]
    async with app.running():
        await bench.never(lambda: len(journal.of("started")) > 2, "something comes again")
    assert len(await bench.dead(topic)) == 1, "there is one dead letter of one message"


@behaviour("A09", seconds=1)
async def what_cannot_be_decoded_is_a_dead_letter_at_once_told_apart_from_what_failed(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    foreign = Topic(topic.name, dict[str, str], key=lambda value: value["key"])
    async with app.running():
        await bench.publish(foreign, {"key": "a", "colour": "blue"}, {"key": "b", "number": "many"}, app=app)
        await bench.publish(topic, Task(1, "c", "fail"), app=app)
        dead = await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 3, "all three are dead")
    reasons = sorted((letter.dead.reason, letter.dead.attempts) for letter in dead if letter.dead)
    assert reasons == [("decode_error", 0), ("decode_error", 0), ("retries_exhausted", 3)], f"recorded: {reasons}"
    assert journal.numbers("started") == [1, 1, 1]


@behaviour("A10", seconds=2)
async def settling_twice_is_the_same_as_once_and_otherwise_is_told(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    await bench.publish(topic, *(Task(n, str(n)) for n in range(4)))
    subscription = bench.subscription(topic)
    async with bench.app().connected() as brokers:
        adapter = brokers.of(topic.spec)
        async with adapter.source(subscription, window=10, notify=lambda _: None) as source:
            held: list[Delivery[Any]] = []
            while len(held) < 4:
                held += await source.receive(4 - len(held))
            acked, released = held[:3], held[3:]
            first = await source.settle([Settled(delivery, ACK) for delivery in acked])
            same = await source.settle([Settled(delivery, ACK) for delivery in acked])
            other = await source.settle([Settled(delivery, RELEASE) for delivery in acked])
            await source.quiesce()
            await source.settle([Settled(delivery, RELEASE) for delivery in released])
            changed = await source.settle([Settled(delivery, ACK) for delivery in released])
    assert list(first) == [DONE] * 3
    assert list(same) == [DONE] * 3, f"acknowledging again: {same}"
    assert list(other) == [LOST] * 3, f"releasing what is acknowledged: {other}"
    assert list(changed) == [LOST], f"acknowledging what is released: {changed}"
    app, journal = bench.consumer(topic)
    async with app.running():
        await bench.until(journal.numbers, "what was released comes again")
        await bench.settled(topic)
    assert len(journal.of("started")) == 1, "what was acknowledged twice does not come again"


@behaviour("A11", verbs=("processes",), needs=("durable",), seconds=6)
async def an_acknowledgement_after_the_lease_was_lost_is_told_to_be_late(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    first, second = await bench.taken_over(topic, Task(1, "a", "sleep=1"))
    await bench.until(lambda: second.journal().numbers() == [1], "the second has handled it")
    first.go_on()
    await bench.until(lambda: first.journal().of("lost"), "the first learns that its result does not count")
    await bench.until(lambda: "was lost" in first.errors, "it says that the message may be handled twice")
    await bench.settled(topic)
    assert first.alive


@behaviour("A12", seconds=2)
async def a_message_may_be_handled_in_any_thread_and_any_task(bench: Bench) -> None:
    topic, told = bench.topic(), bench.topic("told", groups=["group"])
    app, handled = bench.app(), list[int]()

    @app.consume(topic, concurrency=4)
    def in_a_thread(task: Task) -> None:
        app.sync.publish(told, task)

    @app.consume(told, group="group", concurrency=4)
    async def in_a_task(task: Task, delivery: Delivery[Task]) -> None:
        async def work() -> None:
            await delivery.extend(30.0)
            handled.append(task.number)

        await asyncio.create_task(work())

    async with app.running():
        await bench.publish(topic, *(Task(n, str(n)) for n in range(20)), app=app)
        await bench.until(lambda: set(handled) == set(range(20)), "all have come through a thread and a task")
        await bench.settled(topic)
        await bench.settled(told)
    bench.once(handled)


@behaviour("A13", seconds=2)
async def attempts_are_counted_from_one_and_never_decrease_over_a_restart(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    retry = Retry.fixed(6, delay=0.4)
    app, journal = bench.consumer(topic, retry=retry)
    async with app.running():
        await bench.publish(topic, Task(1, "a", "fail=4"), app=app)
        await bench.until(lambda: len(journal.of("failed")) == 2, "it has failed twice")
    again, later = bench.consumer(topic, retry=retry)
    async with again.running():
        await bench.until(lambda: len(later.of("started")) == 3, "it is tried on")
        await bench.settled(topic)
    attempts = journal.attempts(1) + later.attempts(1)
    assert attempts == [1, 2, 3, 4, 5], f"the attempts, over a restart: {attempts}"


@behaviour("A14", seconds=2)
async def an_exception_costs_an_attempt_and_being_cancelled_at_shutdown_does_not(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic, shutdown_grace=0.1, retry=Retry.fixed(2, delay=0.05))
    for run in range(1, 4):
        async with app.running():
            if run == 1:
                await bench.publish(topic, Task(1, "a", "wait"), Task(2, "b", "fail"), app=app)
            await bench.until(lambda run=run: len(journal.attempts(1)) == run, "it is at work")  # type: ignore[misc]
            await bench.until(lambda: len(journal.of("failed", 2)) >= 2, "the other has failed twice")
            if run == 1:
                await bench.eventually(lambda: bench.dead(topic), len, "its two attempts are used up")
    bench.open_gate()
    async with app.running():
        await bench.until(lambda: journal.numbers() == [1], "it is handled after all")
    assert journal.attempts(1) == [1, 1, 1, 1], f"cancelled three times, and then: {journal.attempts(1)}"
    assert journal.attempts(2) == [1, 2], f"failed, and then: {journal.attempts(2)}"
    assert len(await bench.dead(topic)) == 1


@behaviour("A15", verbs=("away",), seconds=10)
async def what_was_handled_is_not_handled_again_though_its_acknowledgement_was_lost(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, lease=4.0)
    assert bench.broker.away is not None
    async with app.running():
        await bench.publish_many(app, topic, [Task(n, str(n), f"sleep={0.5 + n / 5}") for n in range(3)])
        await bench.until(lambda: journal.running == 3, "all are at work")
        async with bench.broker.away():
            await bench.until(lambda: len(journal.of("done")) == 3, "they are handled")
            await bench.until(lambda: app.health().status is not Status.UP, "their acknowledgement fails")
            await asyncio.sleep(4.0)  # their leases run out
        await bench.publish(topic, Task(9, "later"), app=app)
        await bench.until(lambda: 9 in journal.numbers(), "it goes on")
        await bench.settled(topic)
    bench.once(journal.numbers())


@behaviour("A16", seconds=2)
async def of_a_batch_what_failed_is_tried_again_and_the_rest_is_not(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, batches = bench.app(), list[list[tuple[int, int]]]()
    await bench.publish(topic, *(Task(n, str(n)) for n in range(10)))

    @app.consume(topic, batch=Batch(10, wait=0.5), retry=FAST)
    async def handle(tasks: list[Task], deliveries: list[Delivery[Task]]) -> None:
        batches.append([(task.number, delivery.attempt) for task, delivery in zip(tasks, deliveries, strict=True)])
        failures = {
            place: ValueError("the fourth, once")
            for place, (task, delivery) in enumerate(zip(tasks, deliveries, strict=True))
            if task.number == 3 and delivery.attempt == 1
        }
        if failures:
            raise ItemsFailed(failures)

    async with app.running():
        await bench.until(lambda: (3, 2) in [item for batch in batches for item in batch], "the failed one comes again")
        await bench.settled(topic)
    seen = [item for batch in batches for item in batch]
    assert sorted(number for number, attempt in seen if attempt == 1) == list(range(10)), "none is lost, none repeated"
    assert [(number, attempt) for number, attempt in seen if attempt > 1] == [(3, 2)], f"tried again: {seen}"
    assert not await bench.dead(topic)


@behaviour("A17", seconds=1)
async def a_rejection_without_a_reason_is_a_dead_letter_as_well(bench: Bench) -> None:
    topic = bench.topic()
    app = bench.app()
    reasons: list[Any] = [None, "", {"odd": object()}, "plain"]

    @app.consume(topic, retry=FAST)
    async def handle(task: Task) -> None:
        raise Reject(reasons[task.number])

    async with app.running():
        await bench.publish(topic, *(Task(n, str(n)) for n in range(4)), app=app)
        await bench.settled(topic)
        dead = await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 4, "all are dead letters")
    assert {letter.dead.reason for letter in dead if letter.dead} == {"rejected"}


@behaviour("A18", seconds=2)
async def what_a_group_does_not_handle_holds_up_nothing_behind_it(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, where={"for": "us"})
    async with app.running():
        for n in range(12):
            await bench.publish(topic, Task(n, str(n)), app=app, headers={"for": "us" if n % 3 == 0 else "others"})
        await bench.until(lambda: sorted(journal.numbers()) == [0, 3, 6, 9], "those for the group are handled")
        await bench.settled(topic)
    again, later = bench.consumer(topic, where={"for": "us"})
    async with again.running():
        await bench.publish(topic, Task(12), app=again, headers={"for": "us"})
        await bench.until(lambda: 12 in later.numbers(), "what is new comes")
    assert later.numbers("started") == [12], "nothing comes again"
