"""AWS takes a part of a call, throttles, breaks or is slow: nothing is lost, and what is sent again is what was not taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.brokers.running import Running
from tests.sqs.injecting import BadDays, injecting
from waybill import App, Confirmed, Delivery, Retry, Settings, Topic
from waybill.outcomes import Unknown
from waybill.topology import Subscription

pytestmark = pytest.mark.broker("sqs")


@dataclass
class Task:
    number: int
    key: str


@asynccontextmanager
async def service(
    server: Running, days: BadDays, *, fifo: bool = False, work: float = 0.0, lease: float = 30.0, **consume: Any
) -> AsyncGenerator[tuple[App, Topic[Task], list[Delivery[Task]]], None]:
    """An application behind such a server, what it publishes to, and what its handler has done."""
    async with injecting(server.url, days) as endpoint:
        topic = Topic(f"w{uuid4().hex[:10]}", Task, key=lambda task: task.key, groups=["group"])
        table = {"endpoint": endpoint, "direct": True, "fifo": fifo, "wait": 1}
        app = App(
            "group", settings=Settings(url="sqs://us-east-1", broker={"sqs": table}, shutdown_grace=5.0, lease=lease)
        )
        done: list[Delivery[Task]] = []

        @app.consume(topic, ordered=fifo, **{"concurrency": 32, "retry": Retry.fixed(3, delay=0.05), **consume})
        async def handle(_: Task, delivery: Delivery[Task]) -> None:
            await asyncio.sleep(work)  # as long as it takes
            done.append(delivery)

        async with app.running():
            yield app, topic, done


async def until(true: Any, within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, f"not within {within:g} s"
        await asyncio.sleep(0.02)


def numbers(done: list[Delivery[Task]]) -> list[int]:
    return [delivery.value.number for delivery in done]


@pytest.mark.parametrize("fifo", [False, True])
async def test_a_part_of_each_call_fails_and_each_message_is_handled_once(sqs: Running, fifo: bool) -> None:
    days = BadDays(failed=0.2)
    async with service(sqs, days, fifo=fifo) as (app, topic, done):
        results = await app.publish_many(topic, [Task(n, f"key-{n % 20}") for n in range(200)])
        assert all(isinstance(result, Confirmed) for result in results), results
        await until(lambda: len(set(numbers(done))) == 200)
        async with app.admin() as admin:
            subscription = Subscription(topic=topic.spec, group="group")
            end = time.monotonic() + 10
            while (left := await admin.backlog(subscription)).ready.value or left.in_flight.value:
                assert time.monotonic() < end, f"what was handled is not deleted: {left}"
    assert days.injected["SendMessageBatch"] > 10
    assert days.injected["DeleteMessageBatch"] > 5
    assert sorted(numbers(done)) == list(range(200)), "what was taken is not sent again"
    if fifo:
        by_key = {key: [n for n in numbers(done) if n % 20 == key] for key in range(20)}
        assert all(found == sorted(found) for found in by_key.values())


async def test_throttled_it_waits_longer_each_time_and_loses_nothing(sqs: Running) -> None:
    days = BadDays(throttled=0.3)
    async with service(sqs, days) as (app, topic, done):
        results = await app.publish_many(topic, [Task(n, str(n)) for n in range(300)])
        assert all(isinstance(result, Confirmed) for result in results), results
        await until(lambda: len(set(numbers(done))) == 300)
        assert days.injected["throttled"] > 5
        days.throttled = 1.0
        before, began = days.calls.total(), time.monotonic()
        result = (await app.publish_many(topic, [Task(300, "x")], deadline=2.0))[0]
        rate = (days.calls.total() - before) / (time.monotonic() - began)
        assert not isinstance(result, Confirmed)
        assert rate < 20, f"{rate:.0f} calls a second to who wants fewer"
        days.throttled = 0.0
        await app.publish(topic, Task(301, "x"))
        await until(lambda: 301 in numbers(done))
    assert isinstance(result, Unknown) or 300 not in numbers(done), "it was said that it is not stored"


async def test_calls_that_break_lose_nothing_and_what_is_in_doubt_says_so(sqs: Running) -> None:
    days = BadDays(broken=0.1, slow=0.1, slowness=0.3)
    async with service(sqs, days) as (app, topic, done):
        results = await app.publish_many(topic, [Task(n, str(n)) for n in range(300)])
        confirmed = {n for n, result in enumerate(results) if isinstance(result, Confirmed)}
        assert len(confirmed) > 200
        await until(lambda: confirmed <= set(numbers(done)))
    assert days.injected["broken"], "nothing was shown"
    assert len(done) - len(set(numbers(done))) <= days.injected["broken"] * 10


async def test_leases_are_renewed_though_a_part_of_each_renewal_fails(sqs: Running) -> None:
    days = BadDays(failed=0.3)
    async with service(sqs, days, work=9.0, lease=6.0, concurrency=50) as (app, topic, done):
        await app.publish_many(topic, [Task(n, str(n)) for n in range(50)])
        await until(lambda: len(done) >= 50)
    assert days.injected["ChangeMessageVisibilityBatch"] > 5
    assert sorted(numbers(done)) == list(range(50)), "one was handed out twice"


async def test_calls_are_few_under_load_and_hardly_any_when_idle(sqs: Running) -> None:
    days = BadDays()
    async with service(sqs, days, concurrency=64) as (app, topic, done):
        await asyncio.sleep(1.5)  # it is idle
        days.calls.clear()
        await asyncio.sleep(3.0)  # it is idle still
        idle = days.calls.total()
        assert idle <= 4, f"{days.calls}: a receive waits for a second here"
        days.calls.clear()
        publishing = [asyncio.create_task(app.publish(topic, Task(n, str(n)))) for n in range(1000)]
        await asyncio.gather(*publishing)
        await until(lambda: len(done) == 1000)
        renewed = days.calls["ChangeMessageVisibilityBatch"]
    each = {call: days.calls[call] / 1000 for call in ("SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch")}
    assert max(each.values()) <= 0.5, "a busy machine gathers fewer; benchmarks/sqs_calls.py has the figures"
    assert not renewed, "handlers were short"


async def test_each_call_is_counted_by_its_kind_while_it_runs(sqs: Running) -> None:
    days = BadDays()
    async with service(sqs, days) as (app, topic, done):
        await app.publish_many(topic, [Task(n, str(n)) for n in range(25)])
        await until(lambda: len(done) == 25 and app.calls().get("DeleteMessageBatch", 0) >= 3)
        once = ("CreateQueue", "GetQueueUrl", "SendMessageBatch", "DeleteMessageBatch")  # a receive is always under way
        await until(lambda: {call: app.calls()[call] for call in once} == {call: days.calls[call] for call in once})
        assert app.calls()["SendMessageBatch"] >= 3
        assert app.calls()["ReceiveMessage"] >= 3
    assert not app.calls(), "it runs no more"
