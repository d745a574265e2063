"""The adapter that somebody else wrote: a service finds it by its URL, hears of a message at once, and nothing stays held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from examples.adapter.harness import Operator
from tests.brokers.running import Running
from tests.contract.installing import installed
from tests.contract.postgres import PROJECT
from waybill import App, Settings, Topic
from waybill.adapter import Adapter
from waybill.clock import SystemClock
from waybill.loading import AdapterContext, open_adapter
from waybill.outcomes import ACK, DONE, LOST, RELEASE, Settled
from waybill.topology import Subscription
from waybill_contracts import Broker
from waybill_contracts.linking import linked

NUMBER = 10
SOON = 10.0
"""Seconds, and a lease has thirty."""
orders = Topic("orders", int)


@asynccontextmanager
async def operated(server: Running) -> AsyncGenerator[Operator, None]:
    installed(PROJECT)
    operator = Operator(server.url)
    await operator.make()
    try:
        yield operator
    finally:
        await operator.clear()


@asynccontextmanager
async def published(
    operator: Operator, url: str | None = None, *, keys: Sequence[str | None] = (None,)
) -> AsyncGenerator[tuple[Adapter, Subscription], None]:
    """An adapter that is connected, and a group that has a message of each of these keys."""
    publisher, _ = service(operator)
    async with publisher.running(consume=False):
        for number, key in enumerate(keys, 1):
            await publisher.publish(orders, number, key=key)
    context = AdapterContext(application="shop", clock=SystemClock(), options=tables(operator))
    async with open_adapter(url or url_of(operator), context) as adapter:
        yield adapter, Subscription(topic=orders.spec, group="shop")


def service(operator: Operator) -> tuple[App, asyncio.Queue[int]]:
    settings = Settings(url=url_of(operator), broker=tables(operator))
    app, handled = App("shop", settings=settings), asyncio.Queue[int]()

    @app.consume(orders)
    async def handle(order: int) -> None:
        await handled.put(order)

    return app, handled


def url_of(operator: Operator) -> str:
    return operator.as_user(operator.schema, operator.password)


def tables(operator: Operator) -> dict[str, dict[str, str]]:
    return {"postgres": {"schema": operator.schema}}


async def test_a_service_finds_it_and_hears_of_each_message_at_once(postgres: Running) -> None:
    async with operated(postgres) as operator:
        app, handled = service(operator)
        async with app.running():
            begin = time.monotonic()
            for number in range(NUMBER):
                await app.publish(orders, number)
                assert await asyncio.wait_for(handled.get(), SOON) == number
            taken = time.monotonic() - begin
    assert taken < 0.6 * NUMBER, f"{taken:.1f} s for {NUMBER} messages, one after another: does nobody tell of them?"


async def test_who_leaves_gives_back_what_was_not_settled(postgres: Running) -> None:
    async with operated(postgres) as operator, published(operator) as (adapter, subscription):
        for handed_out in (1, 2):
            async with adapter.source(subscription, window=1, notify=print) as source:
                (delivery,) = await asyncio.wait_for(source.receive(1), SOON)
                assert (delivery.handed_out, delivery.attempt) == (handed_out, 1)


async def test_who_was_too_slow_does_not_settle_it_for_who_holds_it_now(postgres: Running) -> None:
    async with operated(postgres) as operator, published(operator) as (adapter, subscription):
        slow = msgspec.structs.replace(subscription, lease=0.2)
        async with (
            adapter.source(slow, window=1, notify=print) as first,
            adapter.source(subscription, window=1, notify=print) as second,
        ):
            (late,) = await asyncio.wait_for(first.receive(1), SOON)
            (delivery,) = await asyncio.wait_for(second.receive(1), SOON)
            assert await first.extend([late]) == [LOST]
            assert await first.settle([Settled(late, ACK)]) == [LOST]
            for _ in range(2):
                assert await second.settle([Settled(delivery, ACK)]) == [DONE]
            assert await second.settle([Settled(delivery, RELEASE)]) == [LOST]


async def test_what_was_on_its_way_when_the_connection_was_cut_comes_again_before_its_lease_is_over(
    postgres: Running,
) -> None:
    async with operated(postgres) as operator, linked(Broker(url=url_of(operator)), {"link"}) as behind:
        assert behind.link is not None
        async with (
            published(operator, behind.url) as (adapter, subscription),
            adapter.source(subscription, window=1, notify=print) as source,
            operating(postgres, operator) as connection,
        ):
            (first,) = await asyncio.wait_for(source.receive(1), SOON)  # from now on the statement is prepared
            assert await source.settle([Settled(first, RELEASE)]) == [DONE]
            with behind.link.replies_held():
                receiving = asyncio.create_task(source.receive(1))
                await seen(connection, "messages WHERE holder IS NOT NULL")  # it was handed out
                behind.link.cut()
            (delivery,) = await asyncio.wait_for(receiving, SOON)
            assert delivery.handed_out == 3


async def test_what_is_given_back_while_another_waits_for_its_turn_to_take_keeps_its_place(postgres: Running) -> None:
    async with operated(postgres) as operator, published(operator, keys="kk") as (adapter, subscription):
        ordered = msgspec.structs.replace(subscription, ordered=True)
        async with (
            adapter.source(ordered, window=1, notify=print) as first,
            adapter.source(ordered, window=1, notify=print) as second,
            operating(postgres, operator) as connection,
        ):
            held = await asyncio.wait_for(first.receive(1), SOON)
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema()), id) FROM groups")
                receiving = asyncio.create_task(second.receive(1))
                await seen(
                    connection, f"pg_stat_activity WHERE wait_event = 'advisory' AND usename = '{operator.schema}'"
                )
                assert await first.settle([Settled(held[0], RELEASE)]) == [DONE]
            (delivery,) = await asyncio.wait_for(receiving, SOON)
            assert delivery.message.id == held[0].message.id, "what stands behind it has overtaken it"


@asynccontextmanager
async def operating(server: Running, operator: Operator) -> AsyncGenerator[Any, None]:
    """A connection of somebody who may do anything."""
    connection = await asyncpg.connect(server.url, server_settings={"search_path": operator.schema})
    try:
        yield connection
    finally:
        await connection.close()


async def seen(connection: Any, rows: str) -> None:
    """Wait until there are some."""
    async with asyncio.timeout(SOON):
        while not await connection.fetchval(f"SELECT count(*) FROM {rows}"):
            await asyncio.sleep(0.02)
