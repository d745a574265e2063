"""D. Dead letters: nothing is given up in silence, nothing is lost on the way there, and what lies there can come back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from waybill import ConfigurationError, Delivery, Message, Retry, Status, Topic
from waybill.redrive import discard
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import FAST, Bench
from waybill_contracts.dying import killed_redrive
from waybill_contracts.tasks import Task
from waybill_contracts.workers import Worker


class Garbage:
    """Bodies that no JSON topic can read, sent as if they were JSON."""

    content_type = "application/json"

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, body: bytes) -> bytes:
        return body


def numbers(letters: list[Message]) -> list[int]:
    """Of the tasks that these are."""
    return [Topic("any", Task).decode(letter).number for letter in letters]


@behaviour("D01", seconds=1)
async def a_dead_letter_is_the_message_as_it_was(bench: Bench) -> None:
    topic = bench.topic()
    app, seen = bench.app(), dict[str, Message]()

    @app.consume(topic, retry=FAST)
    async def handle(_: Task, delivery: Delivery[Task]) -> None:
        seen[delivery.message.id] = delivery.message
        raise ValueError("as told")

    async with app.running():
        for n in range(3):
            await bench.publish(
                topic, Task(n, f"key-{n} ✉"), app=app, headers={"customer": f"№ {n}", "empty": ""}, expires=600
            )
        dead = await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 3, "all are dead letters")
    assert {letter.id for letter in dead} == seen.keys(), "a dead letter has the id of its message"
    kept = (
        "body",
        "key",
        "type",
        "source",
        "time",
        "content_type",
        "correlation_id",
        "causation_id",
        "schema",
        "expires",
    )
    for letter in dead:
        was = seen[letter.id]
        for what in (*kept, "traceparent", "tracestate"):
            assert getattr(letter, what) == getattr(was, what), f"{what} of the dead letter: {getattr(letter, what)!r}"
        assert dict(letter.headers) == dict(was.headers), f"headers of the dead letter: {letter.headers}"


@behaviour("D02", seconds=1)
async def a_dead_letter_says_why_when_and_where_it_failed(bench: Bench) -> None:
    topic = bench.topic()
    app, _ = bench.consumer(topic)
    began = datetime.now(UTC)
    async with app.running():
        await bench.publish(topic, Task(1, "a", "fail"), Task(2, "b", "fail"), Task(3, "c", "reject"), app=app)
        dead = await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 3, "they are dead letters")
    letter, alike, other = sorted(dead, key=lambda m: m.key or "")
    record = letter.dead
    assert record is not None, "it has a record"
    said = (record.reason, record.topic, record.group, record.attempts, record.error)
    assert said == ("retries_exhausted", topic.name, "group", 3, "builtins.ValueError"), f"recorded: {said}"
    assert "at attempt 3" in record.detail, f"the detail is of the last attempt: {record.detail!r}"
    assert "ValueError" in (record.error or ""), f"the error is recorded: {record.error!r}"
    assert "in perform" in (record.stack or ""), "the stack is recorded"
    assert record.frame.endswith(":_do"), f"the frame that failed is recorded: {record.frame!r}"
    assert record.host, "the host is recorded"
    assert record.process > 0, "the process is recorded"
    who = (record.service, bool(record.handler), bool(record.place), bool(record.disposition))
    assert who == (app.name, True, True, True), f"service, handler, place and disposition are recorded: {record}"
    assert record.first_failure is not None, "the first failure is recorded"
    minute = timedelta(minutes=1)
    for at in (record.at, record.first_failure):
        assert began - minute < at < began + minute + timedelta(seconds=bench.patience), f"recorded at {at}"
    assert record.first_failure <= record.at, "the first failure is before the last"
    assert alike.dead is not None
    assert other.dead is not None
    assert len({record.id, alike.dead.id, other.dead.id, ""}) == 4, "each dead-lettering has an id"
    assert record.fingerprint == alike.dead.fingerprint != "", "what failed alike has the same fingerprint"
    assert record.fingerprint != other.dead.fingerprint, "what failed in another way has another one"
    assert await bench.dead(topic) == dead, "it says the same at every look"
    await _keeps_secrets(bench)


async def _keeps_secrets(bench: Bench) -> None:
    topic, app = bench.topic("secrets"), bench.app()

    @app.consume(topic, retry=Retry.none())
    async def handle(_: Task, delivery: Delivery[Task]) -> None:
        raise ValueError(f"{delivery.message.headers['api-key']} is wrong, and so is password=quicksilver")

    async with app.running():
        await bench.publish(topic, Task(1, "a"), app=app, headers={"api-key": "candlelight"})
        (letter,) = await bench.eventually(lambda: bench.dead(topic), len, "it is a dead letter")
    assert "is wrong" in (letter.dead.detail if letter.dead else ""), "the error is recorded"
    for secret in ("candlelight", "quicksilver"):
        assert secret not in str(letter.dead), "what is secret is not recorded"
    assert letter.headers["api-key"] == "candlelight", "but the message is as it was"


@behaviour("D03", seconds=2)
async def an_error_of_any_size_is_recorded_within_bounds(bench: Bench) -> None:
    topic = bench.topic()
    app = bench.app()

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("x" * 1_000_000)

    @app.consume(topic, retry=Retry.none())
    async def handle(task: Task) -> None:
        deep(task.number)

    async with app.running():
        await bench.publish(topic, Task(0, "a"), Task(300, "b"), app=app, headers={"long": "h" * 10_000})
        dead = await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 2, "both are dead letters")
    for letter in dead:
        assert letter.dead is not None
        detail, stack = letter.dead.detail, letter.dead.stack or ""
        assert len(detail.encode()) <= 1024, f"the detail has {len(detail)} characters"
        assert "left out" in detail, "it is not said that something was left out"
        assert len(stack.encode()) <= 8192, f"the stack has {len(stack)} characters"
        assert len(letter.headers["long"]) == 10_000, "the headers are as they were"


@behaviour("D04", verbs=("away",), seconds=5)
async def while_dead_letters_cannot_be_placed_the_message_stays_and_health_says_so(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    assert bench.broker.away is not None
    async with app.running():
        await bench.publish(topic, Task(1, "a", "sleep=0.5 reject"), app=app)
        await bench.until(lambda: journal.of("started"), "its handler runs")
        async with bench.broker.away():
            await bench.until(lambda: journal.of("failed"), "it is rejected")
            await bench.until(lambda: app.health().status is not Status.UP, "health says so")
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 1, "it is a dead letter in the end")
        await bench.until(lambda: app.health().status is Status.UP, "health says that it is over")
        await bench.publish(topic, Task(2, "b"), app=app)
        await bench.until(lambda: 2 in journal.numbers(), "it goes on")
    assert [letter.dead.reason for letter in await bench.dead(topic) if letter.dead] == ["rejected"]


@behaviour("D05", seconds=1)
async def bytes_that_nobody_can_read_are_kept_as_they_are_and_hold_up_nothing(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=1)
    garbage = Topic(topic.name, bytes, codec=Garbage())
    bodies = [b"\x00\xff\xfe no JSON", b"{", b"[1, 2", b'{"number": "x"}']
    async with app.running():
        await bench.publish(garbage, *bodies, app=app)
        await bench.publish(topic, Task(1), app=app)
        dead = await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 4, "all are dead letters")
        await bench.until(lambda: journal.numbers() == [1], "the next one is handled")
    assert sorted(letter.body or b"" for letter in dead) == sorted(bodies), "the bytes are kept as they were"
    assert {letter.dead.reason for letter in dead if letter.dead} == {"decode_error"}
    assert journal.numbers("started") == [1]


@behaviour("D06", seconds=1)
async def each_group_has_dead_letters_of_its_own(bench: Bench) -> None:
    topic = bench.topic()
    apps = {name: bench.app(name) for name in ("odd", "even")}
    for remainder, app in enumerate(apps.values()):

        @app.consume(topic, retry=FAST)
        async def handle(task: Task, remainder: int = 1 - remainder) -> None:
            if task.number % 2 == remainder:
                raise ValueError("not for me")

    async with bench.running(*apps.values()):
        await bench.publish(topic, *(Task(n, str(n)) for n in range(8)), app=apps["odd"])
        for name in apps:
            await bench.eventually(lambda name=name: bench.dead(topic, name), lambda dead: len(dead) >= 4, name)  # type: ignore[misc]
            await bench.settled(topic, name)
    for name, expected in (("odd", [1, 3, 5, 7]), ("even", [0, 2, 4, 6])):
        dead = await bench.dead(topic, name)
        assert sorted(numbers(dead)) == expected, f"the dead letters of {name}: {sorted(numbers(dead))}"
        assert {letter.dead.group for letter in dead if letter.dead} == {name}


@behaviour("D07", seconds=1)
async def dead_letters_are_kept_until_somebody_gives_them_up_and_says_why(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    assert "kept" in dict(app.explain()[0].facts)["dead letters"], "it is said before anything starts"
    async with app.running():
        await bench.publish(topic, Task(1, "a", "fail"), Task(2, "b", "reject"), app=app)
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 2, "both are dead letters")
    async with app.running():
        await bench.publish(topic, Task(3, "c"), app=app)
        await bench.until(lambda: 3 in journal.numbers())
        assert sorted(numbers(await bench.dead(topic))) == [1, 2], "a restart takes none away"
    subscription = bench.subscription(topic)
    async with bench.app("operator").connected() as brokers:
        adapter = brokers.of(topic.spec)
        with pytest.raises(ConfigurationError, match="say why"):
            await discard(adapter, subscription, lambda _: True, reason=" ")
        assert len(await bench.dead(topic)) == 2, "without a reason none is given up"
        gone = await discard(adapter, subscription, lambda m: numbers([m]) == [1], reason="it was a test")
    assert (gone.discarded, gone.unwanted) == (1, 1)
    assert numbers(await bench.dead(topic)) == [2], "what was given up is gone, and nothing else"


@behaviour("D08", seconds=2)
async def what_is_redriven_goes_to_its_group_alone_and_is_no_dead_letter_any_more(bench: Bench) -> None:
    topic = bench.topic()
    broken, calm = bench.app("broken"), bench.app("calm")
    handled, quiet, ids, mended = list[Message](), list[str](), dict[str, int](), asyncio.Event()

    @broken.consume(topic, retry=Retry.none())
    async def handle(task: Task, delivery: Delivery[Task]) -> None:
        if not mended.is_set():
            ids[delivery.message.id] = task.number
            raise ValueError("broken")
        handled.append(delivery.message)

    @calm.consume(topic)
    async def see(_: Task, delivery: Delivery[Task]) -> None:
        quiet.append(delivery.message.id)

    async with bench.running(broken, calm):
        await bench.publish(topic, *(Task(n, str(n)) for n in range(6)), app=broken)
        await bench.eventually(lambda: bench.dead(topic, "broken"), lambda dead: len(dead) == 6, "all are dead letters")
        mended.set()
        assert (await bench.redrive(topic, "broken", lambda m: m.key == "4")).sent == 1, "one by a filter"
        await bench.until(lambda: [ids[m.id] for m in handled] == [4], "it is handled")
        assert (await bench.redrive(topic, "broken", limit=1)).sent == 1, "the oldest"
        await bench.until(lambda: [ids[m.id] for m in handled] == [4, 0], "the oldest is handled, under its id")
        assert len(await bench.dead(topic, "broken")) == 4, "what was redriven is no dead letter any more"
        assert (await bench.redrive(topic, "broken")).sent == 4, "all that are left"
        await bench.until(lambda: len(handled) >= 6, "they are handled")
        await bench.settled(topic, "broken")
        await bench.never(lambda: len(quiet) > 6, "another group gets what is redriven", during=0.3)
    assert sorted(ids[message.id] for message in handled) == list(range(6))
    assert {message.redrives for message in handled} == {1}, "one redrive is counted"
    brought = [message.redrive for message in handled]
    assert None not in brought, "it tells which redrive brought it back"
    assert len(set(brought)) == 3, "each redrive has a name of its own"
    assert not await bench.dead(topic, "broken"), "none is left"


@behaviour("D09", verbs=("processes",), needs=("durable",), seconds=6)
async def a_redrive_that_is_killed_at_any_step_loses_nothing_and_goes_on(bench: Bench) -> None:
    await killed_redrive(bench, letters=100, steps=("after sending", "before sent", "before pending"))


@behaviour("D10", seconds=2)
async def what_nobody_could_handle_in_time_is_a_dead_letter_like_the_others(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    async with bench.app("publisher").running(consume=False) as publisher:
        expired = await publisher.publish(topic, Task(1, "a"), expires=0.2, headers={"customer": "c"})
    await asyncio.sleep(0.4)  # its time is over before anybody comes
    app, journal = bench.consumer(topic)
    async with app.running():
        (letter,) = await bench.eventually(lambda: bench.dead(topic), len, "it is a dead letter")
        assert (await bench.redrive(topic)).sent == 1, "it can be redriven like the others"
        (again,) = await bench.eventually(
            lambda: bench.dead(topic), lambda dead: [m.redrives for m in dead] == [1], "it is too late for it still"
        )
    assert not journal.of("started"), "nobody handled it"
    for found in (letter, again):
        assert (found.id, found.key, dict(found.headers)) == (expired.id, "a", {"customer": "c"})
        assert found.dead is not None, "it has a record"
        said = (found.dead.reason, found.dead.topic, found.dead.group, found.dead.attempts)
        assert said == ("expired", topic.name, "group", 0), f"recorded: {said}"
    await _what_the_broker_gives_up(bench)


async def _what_the_broker_gives_up(bench: Bench) -> None:
    if bench.broker.give_up is None:
        return
    topic = bench.topic("given-up", groups=["group"])
    app, journal = bench.consumer(topic)
    sent = await bench.publish(topic, Task(7, "a"), headers={"customer": "c"})
    await bench.broker.give_up(topic.name, "group")
    (letter,) = await bench.eventually(lambda: bench.dead(topic), len, "the broker gives it up")
    assert (letter.id, letter.key, dict(letter.headers)) == (sent[0], "a", {"customer": "c"})
    assert letter.dead is not None, "it has a record like the others"
    said = (letter.dead.reason, letter.dead.topic, letter.dead.group, letter.dead.attempts)
    assert said == ("delivery_limit", topic.name, "group", 0), f"recorded: {said}"
    assert letter.dead.id, "its dead-lettering has an id"
    assert letter.dead.place, "and the place is told"
    assert [found.dead for found in await bench.dead(topic)] == [letter.dead], "it is the same at every look"
    async with app.running():
        assert (await bench.redrive(topic)).sent == 1, "it can be redriven like the others"
        await bench.until(lambda: journal.numbers() == [7], "it is handled")
    assert not await bench.dead(topic)


@behaviour("D11", seconds=3)
async def what_fails_again_after_a_redrive_is_a_dead_letter_again_and_stays_one(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    async with app.running():
        published = await bench.publish(
            topic, *(Task(n, str(n), "fail") for n in range(4)), app=app, headers={"a": "b"}
        )
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 4, "all are dead letters")
        for times in (1, 2):  # the second time they come from where a redrive has put them
            assert (await bench.redrive(topic)).sent == 4, "each is sent once, whatever becomes of it"
            dead = await bench.eventually(
                lambda: bench.dead(topic),
                lambda dead, times=times: [m.redrives for m in dead] == [times] * 4,  # type: ignore[misc]
                "they are dead letters again",
            )
        await bench.never(lambda: len(journal.of("started")) > 36, "one is tried again by itself")
    assert {letter.dead.attempts for letter in dead if letter.dead} == {3}, "each has had its attempts anew"
    kept = {(letter.id, letter.key, letter.headers.get("a")) for letter in dead}
    assert kept == {(ident, str(n), "b") for n, ident in enumerate(published)}, "each has all that it had"
    assert len({letter.dead.fingerprint for letter in dead if letter.dead}) == 1, "it is seen that they failed alike"


@behaviour("D12", verbs=("processes",), needs=("durable",), seconds=20)
async def a_message_that_kills_its_process_is_a_dead_letter_in_the_end_and_the_others_go_on(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    tasks = [Task(n, str(n), "exit" if n == 3 else "") for n in range(8)]
    await bench.publish(topic, *tasks)
    handled: set[int] = set()
    deaths, budget, most = 0, 3, 5
    if bench.can.crash_factor is not None:
        budget, most = 1, bench.can.crash_factor + 2
        bench.partial(f"it is given up when it has killed {bench.can.crash_factor} times as often as it has attempts")
    for _ in range(most + 7):
        worker = await bench.worker(topic, attempts=budget, lease=2.0, concurrency=2)

        async def finished(worker: Worker = worker) -> bool:
            return not worker.alive or len(await bench.dead(topic)) == 1

        await bench.eventually(finished, bool, "the process dies or the message is a dead letter")
        deaths += not worker.alive
        handled |= set(worker.journal().numbers())
        if len(await bench.dead(topic)) == 1:
            break
        worker.kill()
    await bench.until(lambda: set(range(8)) - {3} <= {n for w in bench.workers for n in w.journal().numbers()})
    (letter,) = await bench.dead(topic)
    assert letter.dead is not None
    assert letter.dead.reason in {"crashed", "delivery_limit"}, letter.dead.reason
    assert budget <= deaths <= most, f"{deaths} processes died of it; its budget is {budget}"
    beside = {step.number for w in bench.workers for step in w.journal().of("started") if step.attempt > 1} - {3}
    if beside:
        bench.partial("at times what a process held beside the message that killed it has lost an attempt")


@behaviour("D13", seconds=3)
async def a_handler_that_never_returns_is_ended_and_its_message_is_a_dead_letter_after_its_budget(
    bench: Bench,
) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, timeout=0.3, retry=Retry.fixed(3, delay=0.05), concurrency=2)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "hang" if n == 1 else "") for n in range(6)), app=app)
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 1, "it is a dead letter")
        await bench.until(lambda: sorted(journal.numbers()) == [0, 2, 3, 4, 5], "the others are handled")
    assert journal.attempts(1) == [1, 2, 3]
    (letter,) = await bench.dead(topic)
    assert letter.dead is not None
    assert (letter.dead.reason, letter.dead.attempts) == ("retries_exhausted", 3)
    assert "HandlerTimeout" in (letter.dead.error or "")


@behaviour("D14", seconds=1)
async def looking_at_dead_letters_takes_none_away_and_changes_no_order(bench: Bench) -> None:
    topic = bench.topic()
    app, _ = bench.consumer(topic, concurrency=1)
    subscription = bench.subscription(topic)
    async with app.running():
        for n in range(7):
            await bench.publish(topic, Task(n, str(n), "reject"), app=app)
            await bench.eventually(lambda: bench.dead(topic), lambda dead, n=n: len(dead) == n + 1)  # type: ignore[misc]
        async with bench.app("operator").admin() as admin:
            looks = list[list[int]]()
            for _look in range(3):
                after: Any = None
                found = list[Message]()
                while True:
                    page = await admin.browse(subscription, after=after, limit=3)
                    found += page.messages
                    after = page.after
                    if after is None or len(found) > 20:
                        break
                looks.append(numbers(found))
        assert looks == [list(range(7))] * 3, f"three looks: {looks}"
        backlog = await bench.backlog(topic)
        assert backlog.dead.value in {7, None}, f"{backlog.dead.value} are counted after looking"
        assert [letter.redrives for letter in await bench.dead(topic)] == [0] * 7
