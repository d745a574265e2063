"""Dead letters that SQS itself moves back: they come as if we had redriven them, and it stops when it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest

from tests.brokers.running import Running
from waybill import App, ConfigurationError, Delivery, Reject, Settings, Topic
from waybill.adapter import Adapter
from waybill.redrive import Redriven, move
from waybill.topology import Subscription

pytestmark = pytest.mark.broker("sqs")


class Service:
    """Rejects everything as long as it is broken, and remembers what it has handled."""

    def __init__(self, app: App, topic: Topic[int], adapter: Adapter) -> None:
        self.app, self.topic, self.adapter = app, topic, adapter
        self.subscription = Subscription(topic=topic.spec, group="group")
        self.broken = True
        self.done: list[Delivery[int]] = []

    async def handle(self, _: int, delivery: Delivery[int]) -> None:
        if self.broken:
            raise Reject("not now")
        self.done.append(delivery)

    async def dead(self) -> int:
        return int((await self.adapter.admin.backlog(self.subscription)).dead.value or 0)

    async def fill(self, letters: int) -> set[str]:
        """The ids of so many dead letters."""
        results = await self.app.publish_many(self.topic, list(range(letters)))
        end = time.monotonic() + 30
        while await self.dead() < letters:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        self.broken = False
        return {str(result.id) for result in results}  # type: ignore[union-attr]

    async def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end
            await asyncio.sleep(0.02)


@asynccontextmanager
async def service(server: Running, **table: Any) -> AsyncGenerator[Service, None]:
    topic = Topic(f"w{uuid4().hex[:10]}", int, groups=["group"])
    settings = {"endpoint": server.url, "direct": True, "wait": 1, **table}
    app = App("group", settings=Settings(url="sqs://us-east-1", broker={"sqs": settings}, shutdown_grace=5.0))

    @app.consume(topic)
    async def handle(value: int, delivery: Delivery[int]) -> None:
        await running.handle(value, delivery)

    async with app.connected() as brokers:
        running = Service(app, topic, brokers.of(topic.spec))
        async with app.running():
            yield running


async def test_all_letters_come_back_once_with_their_ids_and_their_attempts_anew(sqs: Running) -> None:
    told: list[Redriven] = []
    async with service(sqs) as running:
        ids = await running.fill(25)
        moved = await move(running.adapter, running.subscription, on_progress=told.append)
        await running.until(lambda: len(running.done) >= 25)
        assert await running.dead() == 0
    assert moved.sent == told[-1].sent == 25
    assert sorted(each.message.id for each in running.done) == sorted(ids)
    assert {(each.attempt, each.message.redrives, each.message.dead) for each in running.done} == {(1, 1, None)}


async def test_cancelled_it_has_sqs_stop(sqs: Running) -> None:
    begun = asyncio.Event()
    async with service(sqs) as running:
        await running.fill(30)
        moving = asyncio.create_task(
            move(running.adapter, running.subscription, rate=1, on_progress=lambda _: begun.set())
        )
        async with asyncio.timeout(20):
            await begun.wait()
        moving.cancel()
        with suppress(asyncio.CancelledError):
            await moving
        seen = -1
        while seen != (seen := len(running.done)):
            await asyncio.sleep(2.5)  # for two more, if it went on
        assert len(running.done) < 30
        assert await running.dead() == 30 - len(running.done)


async def test_what_sqs_cannot_do_is_refused_before_anything_moves(sqs: Running) -> None:
    async with service(sqs) as running:
        for rate in (0.5, 501):
            with pytest.raises(ConfigurationError, match="1 to 500"):
                await move(running.adapter, running.subscription, rate=rate)
    async with service(sqs, fifo=True) as running:
        with pytest.raises(ConfigurationError, match="FIFO"):
            await move(running.adapter, running.subscription)
    bus = App("group", settings=Settings(url="memory://moving"))
    async with bus.connected() as brokers:
        with pytest.raises(ConfigurationError, match="--native"):
            await move(brokers.of(running.topic.spec), running.subscription)
