"""P. Publishing: what a confirmation means, and what is said where there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, suppress

from waybill import (
    App,
    ClosedError,
    ConfigurationError,
    Confirmed,
    DestinationMissing,
    PublishError,
    PublishRefused,
    PublishUnknown,
    Refused,
    Topic,
)
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task, numbered, numbers_of

MANY = 100


async def failure(publishing: Awaitable[Confirmed], what: str) -> PublishError:
    """How a publish ends that must not be confirmed."""
    try:
        await publishing
    except PublishError as error:
        return error
    raise AssertionError(f"{what}, and it was confirmed")


async def begun(app: App, topic: Topic[Task], numbers: Sequence[int]) -> list[asyncio.Task[Confirmed]]:
    """Publishes that have begun and wait for their confirmations."""
    publishing = [asyncio.create_task(app.publish(topic, Task(n, f"key-{n}"))) for n in numbers]
    await asyncio.sleep(0)
    return publishing


@behaviour("P01", seconds=2)
async def exactly_what_was_published_arrives(bench: Bench) -> None:
    topic = bench.topic()
    app, given = bench.receiver(topic)
    sent: dict[str, tuple[Task, str, dict[str, str]]] = {}
    async with app.running():
        for number in range(MANY):
            task, headers = Task(number, f"key-{number % 7}", "x" * number), {"number": str(number), "of": "many"}
            sent[(await app.publish(topic, task, headers=headers)).id] = (task, task.key, headers)
        await bench.until(lambda: {delivery.message.id for delivery in given} >= sent.keys(), "all arrive")
        await bench.never(lambda: len(given) > 2 * MANY, "they come again and again")
    bench.once(numbers_of(given))
    for delivery in given:
        message = delivery.message
        arrived = (delivery.value, message.key, dict(message.headers))
        assert arrived == sent.get(message.id), f"published: {sent.get(message.id)}, arrived: {arrived}"
        assert message.body == topic.codec.encode(delivery.value), f"the body has changed: {message.body!r}"


@behaviour("P02", verbs=("processes",), seconds=5)
async def what_was_confirmed_is_there_though_its_publisher_is_killed(bench: Bench) -> None:
    topic = bench.topic()
    app, given = bench.receiver(topic)
    await bench.declare(app)
    publisher = await bench.worker(topic, "publisher", publish=[(number, {}) for number in range(5000)])
    await bench.until(lambda: len(publisher.journal().of("published")) >= 30, "it publishes")
    publisher.kill()
    confirmed = set(publisher.journal().numbers("published"))
    async with app.running():
        await bench.until(lambda: confirmed <= set(numbers_of(given)), "all that was confirmed before the kill arrives")


@behaviour("P03", seconds=1)
async def what_nobody_would_get_is_refused_and_never_lost_in_silence(bench: Bench) -> None:
    topic = bench.topic()
    async with bench.app("publisher").running(consume=False) as publisher:
        try:
            error = await failure(publisher.publish(topic, Task(1)), "no group shares the topic")
        except ConfigurationError:
            bench.partial("a topic without groups is refused when it is declared, not for each message")
        else:
            assert isinstance(error, PublishRefused), f"it is certain that nobody has it: {error!r}"
            assert topic.name in str(error), error
        missing = bench.topic("missing")
        async with bench.app("assuming", topology="assume").running(consume=False) as assuming:
            with suppress(DestinationMissing):
                await failure(assuming.publish(missing, Task(1)), "there is no such topic")
        app, given = bench.receiver(topic)
        async with app.running():
            await publisher.publish(topic, Task(2))
            await bench.until(lambda: 2 in numbers_of(given), "it is taken once there is a group")
            await bench.never(lambda: 1 in numbers_of(given), "what was refused arrives")


@behaviour("P04", seconds=1)
async def each_message_of_a_batch_has_a_result_of_its_own(bench: Bench) -> None:
    topic = bench.topic()
    app, given = bench.receiver(topic)
    values = [Task(number, f"key-{number}") for number in range(25)]
    values[7] = Task(7, "seven", "x" * bench.limits(topic).body_bytes)
    values[13] = "no task at all"  # type: ignore[call-overload]
    async with app.running():
        results = await app.publish_many(topic, values)
        stored = {result.id: n for n, result in enumerate(results) if isinstance(result, Confirmed)}
        wrong = [n for n, result in enumerate(results) if isinstance(result, Refused)]
        assert (len(results), wrong, len(stored)) == (25, [7, 13], 23), f"results: {results!r:.800}"
        await bench.until(lambda: len({d.message.id for d in given}) >= 23, "the others arrive")
        await bench.never(lambda: set(numbers_of(given)) & {7, 13}, "a refused one arrives")
    bench.once(numbers_of(given))
    arrived = {delivery.message.id: delivery.value.number for delivery in given}
    assert arrived == stored, "the results are not in the order of the messages"


@behaviour("P05", seconds=20)
async def many_publish_at_once_and_nothing_is_lost(bench: Bench) -> None:
    topic, publishers, each = bench.topic(), 20, 500
    app, given = bench.receiver(topic, concurrency=50)

    async def publish(publisher: int) -> None:
        for number in range(publisher * each, (publisher + 1) * each):
            await app.publish(topic, Task(number, f"key-{number % 100}"))
            await asyncio.sleep(0.001 * (publisher % 3))  # or all would wait for one another, in step

    async with app.running():
        await asyncio.gather(*(publish(publisher) for publisher in range(publishers)))
        await bench.until(lambda: len(given) >= publishers * each, "all of them arrive")
    bench.once(numbers_of(given))
    assert set(numbers_of(given)) == set(range(publishers * each)), "what was confirmed is lost"


@behaviour("P06", verbs=("away",), seconds=4)
async def publishing_ends_at_its_deadline_and_says_what_is_known(bench: Bench) -> None:
    topic, new = bench.topic(), bench.topic("new", groups=["group"])
    app, given = bench.receiver(topic)
    assert bench.broker.away is not None
    async with app.running():
        await app.publish(topic, Task(0))
        await bench.until(lambda: given, "the first arrives")  # its lease is not what this waits for
        async with bench.broker.away():
            began = time.monotonic()
            patient = asyncio.create_task(app.publish(new, Task(3), deadline=20.0))
            errors = await asyncio.gather(
                failure(app.publish(topic, Task(1), deadline=1.0), "the broker is away"),
                failure(app.publish(new, Task(4), deadline=1.0), "the broker is away since before the topic was used"),
            )
            took = time.monotonic() - began
        assert took <= 4.0, f"its deadline was 1 s, and it took {took:.1f} s"
        assert isinstance(errors[1], PublishRefused), f"nothing can have been sent: {errors[1]!r}"
        await patient
        error = errors[0]
        if isinstance(error, PublishUnknown):
            assert (await error.retry()).id == error.message_id, "sent again it is another message"
            await bench.until(lambda: 1 in numbers_of(given), "what was sent again arrives")
        await app.publish(topic, Task(2))
        await bench.until(lambda: {0, 2} <= set(numbers_of(given)), "publishing goes on")
        await bench.never(lambda: 1 in numbers_of(given) and isinstance(error, PublishRefused), "it was refused")
    same = [delivery.message.id for delivery in given if delivery.value.number == 1]
    assert len(same) <= 2, f"{len(same)} copies"
    assert set(same) <= {error.message_id}, "the copies have different ids"


@behaviour("P07", seconds=2)
async def what_is_too_large_is_refused_before_anything_is_sent(bench: Bench) -> None:
    topic = Topic(bench.name("bytes"), bytes)
    limits = bench.limits(topic)
    app, given = bench.receiver(topic)
    large = bytes(range(256)) * (limits.body_bytes // 256 + 1)

    async def refused() -> None:
        for value, headers in ((large[: limits.body_bytes + 1], {}), (b"", {"h": "x" * (limits.header_bytes + 1)})):
            began = time.monotonic()
            error = await failure(app.publish(topic, value, headers=headers), "it is larger than the limit")
            assert isinstance(error, PublishRefused), f"it is certainly not stored: {error!r}"
            assert time.monotonic() - began <= 5.0, "it was sent to be refused"

    async with app.running():
        await app.publish(topic, large[: limits.body_bytes])
        await bench.until(lambda: given, "what is as large as the limit arrives")
        assert given[0].message.body == large[: limits.body_bytes], "what is as large as the limit has changed"
        await refused()
        if bench.broker.away is not None:
            async with bench.broker.away():
                await refused()
        await bench.never(lambda: len(given) > 1, "a refused one arrives")


@behaviour("P09", seconds=1)
async def a_closed_application_publishes_nothing_and_can_be_opened_again(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app = bench.app("publisher")

    async def closed() -> None:
        try:
            await app.publish(topic, Task(99))
        except ClosedError:
            return
        raise AssertionError("it is closed, and published")

    async with bench.app("other").running(consume=False) as other:
        await closed()
        await other.publish(topic, Task(0))
        for number in (1, 2):
            running = app.running(consume=False)
            async with running:
                await app.publish(topic, Task(number))
            await running.__aexit__(None, None, None)
            await closed()
            assert not app.health().ok, "it is closed, and well"
        await other.publish(topic, Task(3))  # what one closes is its own
    consumer, given = bench.receiver(topic)
    async with consumer.running():
        await bench.until(lambda: {0, 1, 2, 3} <= set(numbers_of(given)), "what was confirmed arrives")
    assert 99 not in numbers_of(given)


@behaviour("P10", seconds=2)
async def a_publish_can_be_cancelled_and_the_next_one_works(bench: Bench) -> None:
    topic = bench.topic()
    app, given = bench.receiver(topic)

    async def cancel(number: int, steps: int) -> object:
        began = time.monotonic()
        publishing = asyncio.create_task(app.publish(topic, Task(number)))
        for _ in range(steps):
            await asyncio.sleep(0)
        publishing.cancel()
        (ended,) = await asyncio.gather(publishing, return_exceptions=True)
        assert time.monotonic() - began <= 5.0, "it did not end when it was cancelled"
        return ended

    async with app.running():
        for number in range(20):  # before it is queued, before it is sent, while it is on its way
            ended = await cancel(number, number)
            assert isinstance(ended, asyncio.CancelledError | Confirmed), f"a cancelled publish ends with {ended!r}"
            await app.publish(topic, Task(1000 + number))
        await bench.until(
            lambda: set(range(1000, 1020)) <= set(numbers_of(given)), "those after a cancelled one arrive"
        )
        if bench.broker.away is not None:
            async with bench.broker.away():
                ended = await cancel(20, 20)
                assert isinstance(ended, asyncio.CancelledError | PublishError), f"it is away, and this is {ended!r}"
                await failure(app.publish(topic, Task(21), deadline=0.5), "the broker is away")
            await app.publish(topic, Task(1020))
            await bench.until(lambda: 1020 in numbers_of(given), "it goes on")
    bench.once([number for number in numbers_of(given) if number >= 1000])


@behaviour("P11", seconds=6)
async def closing_leaves_no_publish_without_an_answer(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app = bench.app("publisher", shutdown_grace=15.0)
    async with app.running(consume=False):
        await app.publish(topic, Task(0))
        publishing = await begun(app, topic, range(1, MANY + 1))
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*publishing, return_exceptions=True)
    odd = [result for result in ended if not isinstance(result, Confirmed)]
    assert not odd, f"there was time for all of them, and {len(odd)} were not confirmed: {odd[0]!r}"
    refused = await _closed_while_away(bench, topic)
    consumer, given = bench.receiver(topic)
    async with consumer.running():
        await bench.until(lambda: set(range(MANY + 1)) <= set(numbers_of(given)), "all that was confirmed arrives")
        await bench.never(lambda: refused & set(numbers_of(given)), "what was refused arrives")


async def _closed_while_away(bench: Bench, topic: Topic[Task]) -> set[int]:
    """Those that were refused when an application was closed while the broker was away."""
    if bench.broker.away is None:
        return set()
    app, numbers = bench.app("publisher", shutdown_grace=1.0), range(1000, 1000 + MANY)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.running(consume=False))
        await app.publish(topic, Task(0))
        async with bench.broker.away():
            publishing = await begun(app, topic, numbers)
            async with asyncio.timeout(20):
                await stack.aclose()
                ended = await asyncio.gather(*publishing, return_exceptions=True)
    odd = [result for result in ended if not isinstance(result, PublishError | ClosedError)]
    assert not odd, f"the broker was away until the end, and {len(odd)} ended with {odd[0]!r}"
    return {n for n, result in zip(numbers, ended, strict=True) if not isinstance(result, PublishUnknown)}


@behaviour("P12", verbs=("restart",), needs=("durable",), seconds=2)
async def what_lies_on_an_idle_queue_outlives_the_broker(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    await bench.publish(topic, *(Task(number, f"key-{number}") for number in range(20)))
    assert bench.broker.restart is not None
    await bench.broker.restart()
    app, given = bench.receiver(topic)
    async with app.running():
        await bench.until(lambda: set(numbers_of(given)) == set(range(20)), "they are there after a restart")
    bench.once(numbers_of(given))


@behaviour("P13", needs=("dedup",), seconds=2)
async def a_second_message_of_one_id_is_confirmed_and_not_delivered(bench: Bench) -> None:
    topic = bench.topic(id=numbered, dedup_window=60)
    other = bench.topic("others", id=numbered, dedup_window=60)
    app, given = bench.receiver(topic)
    second, others = bench.receiver(other)
    async with bench.running(app, second):
        for number in range(10):
            assert (await app.publish(topic, Task(number))).id == f"task-{number}", "its id is not the one it was given"
        await asyncio.gather(*(app.publish(topic, Task(number)) for number in range(10)))
        await second.publish(topic, Task(3))  # from another application
        await second.publish(other, Task(3))  # on another topic
        await bench.until(lambda: others, "ids of another topic are its own")
        await bench.until(lambda: len(set(numbers_of(given))) == 10, "each arrives")
        await bench.never(lambda: len(given) > 10, "one arrives twice")
        try:
            await app.publish(topic, Task(3, do="another body"))
        except PublishRefused:
            pass
        else:
            bench.partial("a second message of one id is taken for the first, whatever its body")


@behaviour("P14", needs=("limits_length",), seconds=2)
async def a_full_group_refuses_what_is_published(bench: Bench) -> None:
    topic, most = bench.topic(groups=["group"], max_length=10), 10
    app, given = bench.receiver(topic)
    confirmed, refused = set[int](), set[int]()

    async def publish(number: int) -> bool:
        try:
            await app.publish(topic, Task(number, f"key-{number}"))
        except PublishRefused:
            refused.add(number)
            return False
        confirmed.add(number)
        return True

    async with app.running(consume=False):
        for number in range(3 * most):
            await publish(number)
    assert most <= len(confirmed) <= 1.5 * most, f"{len(confirmed)} were taken, and its max_length is {most}"
    if len(confirmed) > most:
        bench.partial("at times a few more than max_length are taken")
    async with app.running():
        await bench.until(lambda: confirmed <= set(numbers_of(given)), "those that were confirmed arrive")
        await bench.eventually(lambda: publish(1000), bool, "there is room again")
        await bench.until(lambda: 1000 in numbers_of(given), "what came when there was room arrives")
    assert not (refused - confirmed) & set(numbers_of(given)), "what was refused arrives"
