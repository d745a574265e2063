"""What the management API adds, where the settings name it."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote

import aiormq
import pytest

from tests.brokers.administration import Administration, vhost_of
from tests.rabbitmq.looking import eventually
from waybill import App, Settings, Topic
from waybill.findings import Diagnoses, Finding
from waybill.topology import Backlog, Change, Exactness
from waybill_rabbitmq import RabbitMQ


def managed(boss: Administration, url: str, **table: object) -> Settings:
    return Settings(url=url, broker={"rabbitmq": {"management": boss.url.removesuffix("/api"), **table}})


async def planned(app: App) -> list[Change]:
    async with app.admin() as admin:
        return list((await admin.plan(app.topology)).changes)


async def made(url: str, topic: Topic[int]) -> None:
    async with App("group", settings=Settings(url=url), topics=[topic]).running(consume=False):
        pass


async def test_what_is_handled_now_is_counted(boss: Administration, url: str) -> None:
    topic, app, go = Topic("orders", int, groups=["group"]), App("group", settings=managed(boss, url)), asyncio.Event()

    @app.consume(topic, concurrency=3)
    async def handle(number: int) -> None:
        await go.wait()

    async def backlog() -> Backlog | None:
        async with app.admin() as admin:
            found = await admin.backlog(app.topology.subscriptions[0])
        return found if found.in_flight.value == 2 else None

    async with app.running():
        for number in range(2):
            await app.publish(topic, number)
        found = await eventually(backlog, 20)
        go.set()
    assert (found.ready.value, found.in_flight.value) == (0, 2)
    assert found.in_flight.exactness is Exactness.APPROXIMATE


@pytest.mark.parametrize("partitions", [1, 2])
async def test_a_plan_names_every_argument_that_differs(boss: Administration, url: str, partitions: int) -> None:
    options = RabbitMQ(partitions=partitions)
    await made(url, Topic("orders", int, groups=["group"]).on(options))
    other = Topic("orders", int, groups=["group"], max_length=5).on(options)
    app = App("group", settings=managed(boss, url, delivery_limit=77), topics=[other])
    (change,) = await planned(app)
    assert (change.action, change.what) == ("differs", "group orders/group")
    assert "delivery_limit: 1000 there, 77 in the code" in change.detail
    assert "max_length: none there, 5 in the code" in change.detail


async def test_what_is_as_it_should_be_is_no_change(boss: Administration, url: str) -> None:
    for topic in (
        Topic("orders", int, groups=["group"], max_length=9),
        Topic("lots", int, groups=["group"]).on(RabbitMQ(partitions=3)),
    ):
        await made(url, topic)
        app = App("group", settings=managed(boss, url), topics=[topic])
        assert await planned(app) == []


async def test_a_binding_that_is_gone_is_seen_and_made_again(boss: Administration, url: str) -> None:
    topic = Topic("orders", int, groups=["group"])
    app = App("group", settings=managed(boss, url), topics=[topic])
    await made(url, topic)
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        await channel.exchange_unbind("orders/group", "orders", routing_key="#")
    (change,) = await planned(app)
    assert (change.action, change.what) == ("create", "group orders/group")
    assert "the binding of exchange orders/group to orders" in change.detail
    async with app.running(consume=False):
        await app.publish(topic, 1)
    assert await planned(app) == []


async def test_another_kind_of_exchange_is_a_difference_with_and_without_it(boss: Administration, url: str) -> None:
    await made(url, Topic("others", int, groups=["group"]))
    async with aiormq.connect(url) as connection:
        await (await connection.channel()).exchange_declare("orders", exchange_type="direct", durable=True)
    for settings in (managed(boss, url), Settings(url=url)):
        app = App("group", settings=settings, topics=[Topic("orders", int)])
        (change,) = await planned(app)
        assert (change.action, change.what) == ("differs", "topic orders")
        assert "type: direct there, topic in the code" in change.detail.replace("'", "")


async def test_policies_are_shown_and_not_fought(boss: Administration, url: str) -> None:
    topic = Topic("orders", int, groups=["group"])
    app = App("group", settings=managed(boss, url), topics=[topic])
    await made(url, topic)
    policy = {"pattern": "^orders/group$", "definition": {"max-length": 7}, "apply-to": "queues"}
    boss.ask("PUT", f"policies/{quote(vhost_of(url), safe='')}/short", policy)
    assert await planned(app) == []
    (adapter,) = app.brokers().all.values()
    assert isinstance(adapter, Diagnoses)

    async def shown() -> Finding | None:
        return next((finding for finding in await adapter.diagnose() if "policy" in finding.what), None)

    finding = await eventually(shown)
    assert (finding.what, finding.value) == ("policy short on orders/group", "max-length=7")
    assert "refused" in finding.trouble


async def test_one_that_lets_us_see_nothing_is_named_and_stops_nobody(
    boss: Administration, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = Topic("orders", int, groups=["group"])
    with boss.user(url, configure=".*", write=".*", read=".*") as poor, caplog.at_level(logging.WARNING):
        app = App("group", settings=managed(boss, poor), topics=[topic])
        async with app.running(consume=False):
            await app.publish(topic, 1)
        assert await planned(app) == []
    assert "management" in caplog.text
    assert "monitoring" in caplog.text
    assert poor.partition("://")[2].partition("@")[0].partition(":")[2] not in caplog.text
