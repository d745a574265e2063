"""O. Order: by key, whatever fails, and whoever dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from waybill import (
    App,
    ConfigurationError,
    Delivery,
    PublishRefused,
    PublishUnknown,
    Reject,
    Retry,
    Topic,
)
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.faults.checking import disorder
from waybill_contracts.tasks import Journal, Step, Task, nothing, perform


@behaviour("O04", needs=("ordered",), seconds=2)
async def later_ones_of_a_key_wait_for_its_failed_message(bench: Bench) -> None:
    topic = bench.topic()
    retry = Retry.fixed(5, delay=0.3)
    app, journal = bench.consumer(topic, ordered=True, concurrency=8, retry=retry)
    other, others = bench.consumer(topic, ordered=True, concurrency=8, retry=retry)
    tasks = [Task(n, "K", "fail=2" if n == 2 else "") for n in range(1, 6)]
    tasks += [Task(n, f"other-{n % 4}") for n in range(10, 30)]
    async with bench.running(app, other):
        await bench.publish(topic, *tasks, app=app)
        await bench.until(lambda: len(journal.of("done")) + len(others.of("done")) == len(tasks), "all are handled")
    steps = sorted(journal.steps + others.steps, key=lambda step: step.at)
    done = [step.number for step in steps if step.key == "K" and step.what == "done"]
    begun = [(step.number, step.attempt) for step in steps if step.key == "K" and step.what == "started"]
    assert done == [1, 2, 3, 4, 5]
    assert begun == [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1), (5, 1)]


def in_order(steps: Sequence[Step]) -> None:
    """Each key's tasks were begun in the order of their numbers, and never two of one key at once, in whatever process."""
    told = disorder(sorted(steps, key=lambda step: step.at), alone=True)
    assert not told, f"{'; '.join(told)!s:.600}"


def _over_sixteen_keys() -> list[Task]:
    """A thousand, three of a key after one another, of which none takes as long as the next."""
    return [Task(n, f"key-{n // 3 % 16}", f"sleep={n * 7 % 5 / 1000}") for n in range(1000)]


async def _all_handled(bench: Bench, journal: Journal, many: int) -> None:
    """Or what is missing, and since when nothing has happened."""

    def told() -> str:
        missing = sorted(set(range(many)) - set(journal.numbers()))
        idle = time.monotonic() - max((step.at for step in journal.steps), default=0.0)
        return f"all are handled: {len(missing)} are not ({missing!s:.80}), the last step was {idle:.1f} s ago"

    await bench.until(lambda: len(set(journal.numbers())) == many, told, within=60.0)


@behaviour("O01", needs=("ordered",), seconds=10)
async def one_member_handles_each_keys_messages_in_the_order_they_were_published(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, ordered=True, concurrency=8)
    async with app.running():
        await bench.publish_many(app, topic, _over_sixteen_keys())
        await _all_handled(bench, journal, 1000)
    in_order(journal.steps)
    bench.once(journal.numbers())


@behaviour("O02", needs=("ordered",), seconds=10)
async def three_members_handle_each_keys_messages_in_the_order_they_were_published(bench: Bench) -> None:
    topic, journal = bench.topic(), Journal(bench.gate)
    apps = [bench.consumer(topic, journal=journal, ordered=True, concurrency=8)[0] for _ in range(3)]
    async with bench.running(*apps):
        await bench.publish_many(apps[0], topic, _over_sixteen_keys())
        await _all_handled(bench, journal, 1000)
    in_order(journal.steps)
    bench.once(journal.numbers())


@behaviour("O03", needs=("ordered",), seconds=1)
async def a_slow_key_does_not_hold_up_another(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, ordered=True, concurrency=4)
    async with app.running():
        await bench.publish(topic, *(Task(n, "A", "wait") for n in range(3)), app=app)
        await bench.until(lambda: journal.of("started"), "the slow one is begun")
        await bench.publish_many(app, topic, [Task(n, f"key-{n % 5}") for n in range(10, 60)])
        await bench.until(lambda: len(set(journal.numbers())) == 50, "the others are handled while the slow key waits")
        assert journal.numbers("started").count(0) == 1, "the slow one was begun twice"
        assert not {1, 2} & set(journal.numbers("started")), "its key's later ones did not wait"
        bench.open_gate()
        await bench.until(lambda: len(set(journal.numbers())) == 53, "the slow key is handled")
    in_order(journal.steps)


@behaviour("O05", needs=("relaxes",), seconds=1)
async def a_relaxed_key_goes_on_without_its_failed_message_which_says_so_when_it_comes(bench: Bench) -> None:
    topic = bench.topic()
    retry = Retry.fixed(3, delay=1.5)
    app, journal = bench.consumer(topic, ordered=True, on_failure="relax", retry=retry)
    async with app.running():
        await bench.publish(topic, *(Task(n, "K", "fail=1" if n == 2 else "") for n in range(1, 6)), app=app)
        await bench.until(lambda: len(set(journal.numbers())) == 5, "all are handled")
    assert journal.numbers() == [1, 3, 4, 5, 2], "the key's later ones waited for the failed one"
    late = {(step.number, step.attempt): step.out_of_order for step in journal.of("started")}
    wrong = {of: said for of, said in late.items() if said != (of == (2, 2))}
    assert not wrong, f"`out_of_order`, by number and attempt: {wrong}"


@behaviour("O06", needs=("ordered",), seconds=1)
async def a_key_goes_on_when_its_failed_message_has_become_a_dead_letter(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, ordered=True)
    async with app.running():
        await bench.publish(topic, *(Task(n, "K", "fail" if n == 2 else "") for n in range(1, 5)), app=app)
        await bench.until(lambda: journal.numbers() == [1, 3, 4], "the key goes on without it")
        dead = await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 1, "it is a dead letter")
    begun = [(step.number, step.attempt) for step in journal.of("started")]
    assert begun == [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1)], f"begun, with attempts: {begun}"
    assert [letter.dead and letter.dead.reason for letter in dead] == ["retries_exhausted"]


@behaviour("O07", needs=("ordered", "durable"), verbs=("processes",), seconds=6)
async def a_keys_new_owner_never_overlaps_its_old_one_when_that_leaves_or_dies(bench: Bench) -> None:
    topic, total = bench.topic(groups=["group"]), 120
    options: dict[str, Any] = {"ordered": True, "concurrency": 3, "lease": 2.0, "grace": 3.0}
    dying, leaving = await bench.worker(topic, **options), await bench.worker(topic, **options)
    tasks = [Task(n, f"key-{n % 6}", "sleep=0.5" if n % 5 == 0 else "sleep=0.02") for n in range(total)]

    async def publish(lot: list[Task]) -> None:
        async with bench.app("publisher").running(consume=False) as publisher:
            await bench.publish_many(publisher, topic, lot)

    def steps() -> list[Step]:
        return [step for worker in bench.workers for step in worker.journal().steps if step.key]

    def handled() -> set[int]:
        return {step.number for step in steps() if step.what == "done"}

    await publish(tasks[:60])
    await bench.until(lambda: len(handled()) >= 6 and dying.journal().running, "both are at work")
    died = time.monotonic()
    dying.kill()
    await bench.worker(topic, **options)
    await publish(tasks[60:])  # so that who leaves has something to do
    await bench.until(lambda: any(step.number >= 60 for step in steps()), "they go on")
    await leaving.stop()
    await bench.until(lambda: handled() == set(range(total)), "the others handle all that is left")
    ended = max(died, *(step.at for step in dying.journal().steps))
    cut = [step for step in dying.journal().of("started") if step.number not in dying.journal().numbers()]
    seen = steps() + [replace(step, what="cut", at=ended) for step in cut]
    assert not leaving.journal().of("cancelled"), "who left in order did not finish what it had begun"
    in_order(seen)
    again = len([step for step in seen if step.what == "started"]) - total
    assert again <= 2 * options["concurrency"], f"{again} were begun again, more than the one that died had begun"


@behaviour("O08", needs=("ordered",), seconds=1)
async def order_without_a_key_is_an_error_or_a_message_that_waits_for_none(bench: Bench) -> None:
    keyless: Topic[Task] = Topic(bench.name("keyless"), Task)
    app = bench.app()
    told = ""
    try:
        app.consume(keyless, ordered=True)(nothing)
    except ConfigurationError as error:
        told = str(error)
    assert "key" in told, f"a topic without keys is consumed ordered, and all that is said is: {told or 'nothing'}"
    topic = bench.topic(key=_key_or_none)
    app, journal = bench.consumer(topic, ordered=True, concurrency=8)
    async with app.running():
        await bench.publish(topic, Task(1, "A", "wait"), app=app)
        await bench.until(lambda: journal.of("started"), "a key is busy")
        try:
            await bench.publish(topic, *(Task(n, "", "wait") for n in range(2, 5)), app=app)
        except PublishRefused:
            bench.open_gate()  # said when it is published: then nothing of it is stored
            await bench.until(lambda: journal.numbers() == [1])
            await bench.never(lambda: len(journal.of("started")) > 1, "what was refused is handled")
            return
        await bench.until(lambda: len(journal.of("started")) == 4, "what has no key waits for none")
        bench.open_gate()
        await bench.until(lambda: len(journal.of("done")) == 4)


@behaviour("O09", needs=("ordered",), verbs=("away",), seconds=6)
async def publishing_again_after_an_outage_does_not_reorder_a_key(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, ordered=True)
    ending = asyncio.Event()
    published = 0

    async def publish() -> None:
        """As whoever publishes in order does: one after another, each again until it is confirmed."""
        nonlocal published
        while not ending.is_set():
            await _confirmed(app, topic, Task(published, "K"))
            published += 1
            await asyncio.sleep(0.01)

    assert bench.broker.away is not None
    async with app.running():
        publishing = asyncio.create_task(publish())
        for _ in range(2):
            before = published
            await bench.until(lambda before=before: published >= before + 5, "it is published")  # type: ignore[misc]
            async with bench.broker.away():
                await asyncio.sleep(1.2)  # as long as the outage lasts
        before = published
        await bench.until(lambda: published >= before + 5, "publishing goes on", within=60)
        ending.set()
        await publishing
        within = 3 * bench.patience
        await bench.until(lambda: set(journal.numbers()) == set(range(published)), "all are handled", within=within)
    came = journal.numbers("started")
    assert came == sorted(came), f"a message came after one that was published behind it: {came}"


async def _confirmed(app: App, topic: Topic[Task], task: Task) -> None:
    publish: Callable[[], Awaitable[object]] = partial(app.publish, topic, task, deadline=0.4)
    while True:
        try:
            await publish()
        except PublishUnknown as error:
            publish = error.retry
        except PublishRefused:
            await asyncio.sleep(0.05)
        else:
            return


@behaviour("O10", needs=("ordered",), seconds=2)
async def a_redriven_message_comes_at_the_end_of_its_keys_line_and_says_that_it_was(bench: Bench) -> None:
    topic, journal, redriven = bench.topic(), Journal(bench.gate), dict[int, int]()
    app = bench.app()

    @app.consume(topic, ordered=True, concurrency=4)
    async def handle(task: Task, delivery: Delivery[Task]) -> None:
        redriven[task.number] = delivery.message.redrives
        if task.number == 2 and not delivery.message.redrives:
            raise Reject("not yet")
        await perform(task, delivery, journal)

    async with app.running():
        await bench.publish(topic, Task(1, "K"), Task(2, "K"), app=app)
        await bench.publish(topic, Task(3, "K", "wait"), Task(4, "K"), Task(5, "K"), app=app)
        await bench.until(lambda: 3 in journal.numbers("started"), "the key goes on")
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 1, "it is a dead letter")
        await bench.redrive(topic, ordered=True)
        await bench.never(lambda: len(journal.of("started")) > 2, "it did not wait for its key", during=0.3)
        bench.open_gate()
        await bench.until(lambda: len(set(journal.numbers())) == 5, "all are handled")
    assert journal.numbers() == [1, 3, 4, 5, 2], "it is not at the end of its key's line"
    assert redriven == {1: 0, 2: 1, 3: 0, 4: 0, 5: 0}, f"`redrives`, by number: {redriven}"
    assert not await bench.dead(topic), "it is still among the dead letters"


def _key_or_none(task: Task) -> str | None:
    return task.key or None
