"""Receives: no call waits behind long polls, none is stranded by who stops, and a thousand leases are kept by few calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.brokers.running import Running
from tests.sqs.injecting import BadDays, injecting
from waybill import App, DeadLetterRecord, Delivery, Message, Settings, Topic
from waybill.adapter import Adapter
from waybill.outcomes import Confirmed
from waybill.redrive import Redriven, redrive
from waybill.topology import Destination, Subscription
from waybill_sqs import letters

pytestmark = pytest.mark.broker("sqs")


def made(server: Running, *, wait: int = 1, lease: float = 30.0, grace: float = 5.0, **table: Any) -> App:
    broker = {"sqs": {"endpoint": server.url, "direct": True, "wait": wait, **table}}
    return App("group", settings=Settings(url="sqs://us-east-1", broker=broker, lease=lease, shutdown_grace=grace))


def topic() -> Topic[int]:
    return Topic(f"w{uuid4().hex[:10]}", int, key=str, groups=["group"])


def dead(number: int, group: Subscription) -> Message:
    record = DeadLetterRecord(
        reason="rejected", topic=group.topic.name, group=group.group, attempts=1, at=datetime.now(UTC)
    )
    return Message(
        id=f"letter-{number}",
        type="order",
        source="shop",
        time=record.at,
        body=b"1",
        content_type="application/json",
        dead=record,
    )


async def until(true: Callable[[], bool], within: float = 40.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, f"not within {within:g} s"
        await asyncio.sleep(0.02)


async def test_no_call_waits_behind_long_polls(sqs: Running) -> None:
    app, topics = made(sqs, wait=20, grace=1.0), [topic() for _ in range(15)]
    done: list[int] = []

    @app.consume(topics[0], concurrency=1)
    async def handle(number: int) -> None:
        done.append(number)

    for idle in topics[1:]:
        app.consume(idle)(handle)
    async with app.running():
        await until(lambda: app.calls().get("ReceiveMessage", 0) >= len(topics))
        for number in range(5):
            begun = time.monotonic()
            await app.publish(topics[0], number)
            await until(lambda number=number: number in done)  # type: ignore[misc]
            assert time.monotonic() - begun < 10, "a poll is 20 s long"
        await until(lambda: app.calls().get("DeleteMessageBatch", 0) >= 1, within=10)


@pytest.mark.parametrize("fifo", [False, True])
async def test_who_stops_strands_nothing(sqs: Running, fifo: bool) -> None:
    shared, done, published = topic(), list[int](), asyncio.Event()

    def service(endpoint: str) -> App:
        app = made(sqs, lease=60.0, fifo=fifo, endpoint=endpoint)

        @app.consume(shared, ordered=fifo, concurrency=10)  # so that what is in hand can be settled in the last second
        async def handle(number: int) -> None:
            await published.wait()
            await asyncio.sleep(0.05)  # as long as it takes
            done.append(number)

        return app

    async with injecting(sqs.url, BadDays(slow=1.0, slowness=0.3)) as endpoint:  # a receive is always under way
        first, second = service(endpoint), service(sqs.url)
        async with first.running():
            await first.publish_many(shared, [number % 20 for number in range(300)])
            published.set()
            await until(lambda: len(done) > 20)
        handled, begun = len(done), time.monotonic()
        assert handled < 300, "there is something left to strand"
        async with second.running():
            await until(lambda: len(done) >= 300)
    assert time.monotonic() - begun < 50, "what was stranded would come after 60 s"
    assert len(done) == 300


async def test_a_thousand_in_hand_are_kept_by_a_hundred_calls_an_interval_and_none_is_late(sqs: Running) -> None:
    shared, lease = topic(), 20.0
    app = made(sqs, lease=lease)
    handled: list[Delivery[int]] = []
    begun: list[int] = []
    gate = asyncio.Event()

    @app.consume(shared, concurrency=1000, timeout=None)
    async def handle(number: int, delivery: Delivery[int]) -> None:
        begun.append(number)
        await gate.wait()
        handled.append(delivery)

    async with app.running():
        await app.publish_many(shared, list(range(1000)))
        await until(lambda: len(begun) == 1000)
        before, start = app.calls().get("ChangeMessageVisibilityBatch", 0), time.monotonic()
        await until(lambda: time.monotonic() - start > 1.5 * lease)  # each was renewed, or would have come again
        renewals = app.calls()["ChangeMessageVisibilityBatch"] - before
        intervals = (time.monotonic() - start) / (lease / 3) + 1
        gate.set()
        await until(lambda: len(handled) == 1000)
    assert 100 <= renewals <= 100 * intervals, f"{renewals} calls in {intervals:.1f} intervals"
    assert sorted(begun) == list(range(1000)), "one was late, and handed out once more"
    assert not [delivery for delivery in handled if delivery.redelivered]


@asynccontextmanager
async def a_hundred_dead(
    server: Running, days: BadDays, *, fifo: bool
) -> AsyncGenerator[tuple[Adapter, Subscription], None]:
    """What uses them, and whose they are: they come ten a call, which takes what `days` say."""
    shared = topic()
    async with injecting(server.url, days) as endpoint:
        app = made(server, endpoint=endpoint, fifo=fifo)

        @app.consume(shared)
        async def handle(number: int) -> None: ...

        group = Subscription(topic=shared.spec, group="group", lease=2.0)
        async with app.connected() as brokers, asyncio.timeout(90):
            adapter = brokers.of(shared.spec)
            await adapter.admin.apply(await adapter.admin.plan(app.topology))
            async with adapter.sink(Destination("dead", group.topic, group.group)) as sink:
                results = await sink.send(
                    [dead(number, group) for number in range(100)], deadline=time.monotonic() + 30
                )
            assert all(isinstance(result, Confirmed) for result in results)
            yield adapter, group


async def test_going_through_more_dead_letters_than_stay_hidden_comes_to_an_end(sqs: Running) -> None:
    days = BadDays()
    async with a_hundred_dead(sqs, days, fifo=False) as (adapter, group):
        days.slow, days.slowness = 1.0, 0.25  # 80 are gone through in the 2 s that each is hidden
        assert await redrive(adapter, group, lambda _: False) == Redriven(unwanted=100)
        days.slow = 0.0
        assert (await redrive(adapter, group, lambda _: True)).sent == 100, "they were given back"


async def test_looking_at_more_dead_letters_than_stay_hidden_comes_to_an_end(
    sqs: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "LOOKING", 1)
    days = BadDays()
    async with a_hundred_dead(sqs, days, fifo=True) as (adapter, group):  # which hands out the first ones first
        days.slow, days.slowness = 1.0, 0.25  # 40 are found in the second for which the first are hidden
        page = await adapter.admin.browse(group, limit=100)
        assert {message.id for message in page.messages} == {f"letter-{number}" for number in range(100)}
        assert page.complete
        days.slow = 0.0
        assert (await redrive(adapter, group, lambda _: True)).sent == 100, "they were given back"
