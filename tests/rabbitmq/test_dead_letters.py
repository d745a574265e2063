"""Dead letters: what is held by somebody is not taken for gone by somebody who looks."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.rabbitmq.looking import eventually
from waybill import App, DeadLetterRecord, Message, Settings, Topic
from waybill.adapter import Adapter, Admin, Page
from waybill.dlq.index import Index
from waybill.dlq.model import Query
from waybill.dlq.operation import Orders
from waybill.dlq.operations import Operations
from waybill.dlq.running import run
from waybill.outcomes import ACK, RELEASE, Confirmed, Settled
from waybill.topology import Count, Destination, Exactness, Subscription

ORDERS = Topic("orders", int, groups=["group"])
GROUP = Subscription(topic=ORDERS.spec, group="group")


def letter(number: int) -> Message:
    record = DeadLetterRecord(reason="rejected", topic="orders", group="group", attempts=1, at=datetime.now(UTC))
    return Message(
        id=f"letter-{number}",
        type="orders",
        source="shop",
        time=record.at,
        body=b"1",
        content_type="application/json",
        dead=record,
    )


async def counted(admin: Admin, count: Count) -> bool:
    return (await admin.backlog(GROUP)).dead == count


@asynccontextmanager
async def buried(url: str, letters: Sequence[Message]) -> AsyncGenerator[tuple[Adapter, Adapter], None]:
    """Two connections to the broker, where these are the dead letters of the group."""
    app, other = App("group", settings=Settings(url=url)), App("other", settings=Settings(url=url))

    @app.consume(ORDERS)
    async def handle(number: int) -> None: ...

    async with app.connected() as brokers, other.connected() as others:
        adapter = brokers.of(ORDERS.spec)
        await adapter.admin.apply(await adapter.admin.plan(app.topology))
        async with adapter.sink(Destination("dead", GROUP.topic, GROUP.group)) as sink:
            results = await sink.send(letters, deadline=time.monotonic() + 30)
        assert all(isinstance(result, Confirmed) for result in results)
        yield adapter, others.of(ORDERS.spec)


async def test_letters_that_somebody_holds_are_not_taken_for_gone(url: str) -> None:
    async with buried(url, [letter(number) for number in range(8)]) as (adapter, other):
        admin = other.admin

        async def look() -> Page:
            return await admin.browse(GROUP)

        async def complete() -> bool:
            return (await look()).complete

        assert await eventually(complete)
        assert await eventually(lambda: counted(admin, Count(8)))  # the last look is not over at once
        async with adapter.dead_letters(GROUP) as source:
            first = await source.receive(4)
            assert [delivery.message.id for delivery in first] == [f"letter-{number}" for number in range(4)]
            page = await look()
            assert (page.complete, len(page.messages) < 8) == (False, True)
            assert await eventually(lambda: counted(admin, Count(4, Exactness.AT_LEAST)))
            await source.settle([Settled(delivery, ACK) for delivery in first[:2]])
            await source.settle([Settled(delivery, RELEASE) for delivery in first[2:]])
            second = await source.receive(10)
            assert [delivery.message.id for delivery in second] == [f"letter-{number}" for number in range(4, 8)]
            page = await look()
            assert (page.complete, len(page.messages)) == (False, 0)
            await source.settle([Settled(delivery, RELEASE) for delivery in second])
            assert not await source.receive(10)

        async def whole() -> Page | None:
            page = await look()
            return page if page.complete and len(page.messages) == 6 else None

        page = await eventually(whole)
        assert sorted(message.id for message in page.messages) == [f"letter-{number}" for number in range(2, 8)]


async def test_an_operation_takes_for_gone_only_what_nobody_holds(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waybill_rabbitmq.browsing.MOST", 2)  # as of more letters than one look shows
    monkeypatch.setattr("waybill.dlq.sending.SPARE", -28.0)  # of a lease of 30 seconds
    letters = [letter(number) for number in range(4)]
    async with buried(url, letters) as (adapter, other):
        with Index.open(tmp_path / "dlq.db") as index:
            index.record("orders", "group", letters, now=datetime.now(UTC))
            operations = Operations(index)
            operation = operations.begin("discard", GROUP, Query(), Orders(), by="ada", why="test")
            async with other.dead_letters(GROUP) as source:
                held = await source.receive(2)
                outcome = await run(adapter, GROUP, operations, operation)
                assert (outcome.progress.discarded, outcome.progress.claimed) == (2, 2)
                assert "others hold some" in outcome.waits
                await source.settle([Settled(held[0], ACK), Settled(held[1], RELEASE)])
            outcome = await run(adapter, GROUP, operations, operation)
            assert (outcome.operation.state, outcome.progress.discarded, outcome.waits) == ("done", 4, "")
