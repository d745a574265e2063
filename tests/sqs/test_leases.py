"""What is renewed is nobody else's; what is past its lease is neither deleted nor given back, whatever SQS makes of its receipt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.brokers.running import Running
from waybill import App, Delivery, Settings, Topic
from waybill.adapter import Source
from waybill.outcomes import ACK, DONE, LOST, RELEASE, Extended, Settled
from waybill.topology import Subscription

pytestmark = pytest.mark.broker("sqs")


@asynccontextmanager
async def held(server: Running, *, lease: float, many: int = 1) -> AsyncGenerator[tuple[Any, Any, Any], None]:
    """The adapter, a source, and so many messages that it holds."""
    topic = Topic(f"w{uuid4().hex[:10]}", str, groups=["group"])
    table = {"endpoint": server.url, "direct": True, "wait": 1}
    app = App("group", settings=Settings(url="sqs://us-east-1", broker={"sqs": table}))
    subscription = Subscription(topic=topic.spec, group="group", lease=lease)
    async with app.running(consume=False):
        await app.publish_many(topic, [str(n) for n in range(many)])
        async with app.connected() as brokers:
            adapter = brokers.of(topic.spec)
            async with adapter.source(subscription, window=many, notify=lambda _: None) as source:
                yield adapter, subscription, (source, await received(source, many))


async def received(source: Source, many: int) -> Sequence[Delivery[Any]]:
    found: list[Delivery[Any]] = []
    async with asyncio.timeout(20):
        while len(found) < many:
            found += await source.receive(many - len(found))
    return found


@pytest.mark.parametrize("settlement", [ACK, RELEASE])
async def test_what_is_past_its_lease_is_left_to_whoever_has_it_now(sqs: Running, settlement: Any) -> None:
    async with held(sqs, lease=3.0) as (adapter, subscription, (source, (delivery,))):
        await asyncio.sleep(delivery.lease_until - time.monotonic() + 0.05)  # until its lease is over, by our clock
        assert await source.settle([Settled(delivery, settlement)]) == [LOST]
        async with adapter.source(subscription, window=1, notify=lambda _: None) as other:
            (again,) = await received(other, 1)
            assert again.redelivered
            assert await source.settle([Settled(delivery, settlement)]) == [DONE if settlement is RELEASE else LOST]
            assert await source.extend([delivery]) == [LOST]
            (kept,) = await other.extend([again])
            assert isinstance(kept, Extended), "it is the other's still"
            assert await other.settle([Settled(again, ACK)]) == [DONE]


async def test_what_is_renewed_is_handed_out_to_nobody_else(sqs: Running) -> None:
    async with (
        held(sqs, lease=5.0) as (adapter, subscription, (source, (delivery,))),
        adapter.source(subscription, window=1, notify=lambda _: None) as other,
    ):
        asked, end = asyncio.ensure_future(other.receive(1)), time.monotonic() + 12.0
        async with asyncio.timeout(40):
            while time.monotonic() < end:
                (kept,) = await source.extend([delivery])
                assert isinstance(kept, Extended)
                await asyncio.wait([asked], timeout=0.3)
                if asked.done():
                    assert not await asked
                    asked = asyncio.ensure_future(other.receive(1))
        assert await source.settle([Settled(delivery, ACK)]) == [DONE]
        await other.quiesce()
        assert not await asked
