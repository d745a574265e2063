"""The rights that docs/kafka.md names are enough, and no role has more than it needs."""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.brokers.kafka_users import Rule
from tests.contract.kafka_verbs import Verbs
from waybill import App, BrokerError, Retry, Settings, Status, Stretch, Topic
from waybill.replaying import history_of

PAGE = Path(__file__).parents[2] / "docs" / "kafka.md"


def rights(role: str, prefix: str) -> list[Rule]:
    """A role's line of the page, for a topic whose name begins with the prefix."""
    (line,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {role} |")]
    _, _, topics, groups, _ = line.split("|")
    return [
        Rule(kind, name.replace("orders", f"{prefix}.orders"), operation)
        for kind, cell in (("topic", topics), ("group", groups))
        for part in cell.split(";")
        for name in re.findall(r"`([^`]+)`", part)
        for operation in re.findall(r"[a-z_]+", re.sub(r"`[^`]+`|.*:", "", part))
    ]


@pytest.mark.parametrize("ordered", [False, True])
async def test_each_role_has_what_it_needs(verbs: Verbs, ordered: bool) -> None:
    orders = Topic(f"{verbs.prefix}.orders", int, key=str, groups=["billing"])
    handled: list[int] = []
    failed = asyncio.Event()

    def service(url: str, topology: str) -> App:
        table = {"kafka": {"sasl": "SCRAM-SHA-512"}}
        app = App("billing", settings=Settings(url=url, topology=topology, broker=table))  # type: ignore[arg-type]

        @app.consume(orders, ordered=ordered, retry=Retry.fixed(3, delay=0.2))
        async def take(number: int) -> None:
            if number == 1 and not failed.is_set():
                failed.set()
                raise LookupError("once")
            handled.append(number)

        return app

    async with (
        verbs.user("job", *rights("`waybill topology apply`", verbs.prefix)) as job,
        verbs.user("publisher", *rights("publisher", verbs.prefix)) as publisher,
        verbs.user("consumer", *rights("consumer", verbs.prefix)) as consumer,
    ):
        async with service(job, "create").running(consume=False):
            pass
        settings = Settings(url=publisher, topology="assume", broker={"kafka": {"sasl": "SCRAM-SHA-512"}})
        shop = App("shop", settings=settings)
        async with service(consumer, "verify").running(), shop.running(consume=False):
            await shop.publish(orders, 1)
            await verbs.until(lambda: handled == [1], "a retry is published by who consumes")
            await shop.publish(orders, 2)
            await verbs.until(lambda: handled == [1, 2], "it goes on")
        other = service(publisher, "assume")
        async with other.running():
            await verbs.until(lambda: other.health().status is not Status.UP, "who publishes may not consume")


async def test_whoever_reads_history_or_moves_a_group_needs_no_more_than_that(verbs: Verbs) -> None:
    orders = Topic(f"{verbs.prefix}.orders", int, key=str, groups=["billing"])
    table = {"kafka": {"sasl": "SCRAM-SHA-512"}}
    async with App("billing", settings=Settings(url=verbs.mine, broker=table)).running(consume=False) as app:
        await app.publish(orders, 7)
    replayed: list[int] = []

    async def note(number: int) -> None:
        replayed.append(number)

    async with (
        verbs.user("reader", *rights("`waybill replay`", verbs.prefix)) as reader,
        verbs.user("mover", *rights("`waybill seek`", verbs.prefix)) as mover,
    ):
        settings = Settings(url=reader, topology="assume", broker=table)
        async with App("billing", settings=settings).running(consume=False) as app:
            await app.replay(orders, Stretch(), to=note)
        assert replayed == [7]
        (subscription,) = orders.subscriptions()
        for url, may in ((reader, False), (mover, True)):
            async with App("billing", settings=Settings(url=url, broker=table)).connected() as brokers:
                history = history_of(brokers.of(orders.spec), orders.spec)
                with nullcontext() if may else pytest.raises(BrokerError):
                    await history.seek(subscription, Stretch(since=datetime.now(UTC)))
        async with App("billing", settings=Settings(url=verbs.mine, broker=table)).admin() as admin:
            assert (await admin.backlog(subscription)).ready.value == 0
