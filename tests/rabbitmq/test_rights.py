"""Users who may do what their role takes and nothing else, and what `doctor` says where something is missing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.brokers.administration import Administration
from tests.rabbitmq.looking import dead, eventually, until
from waybill import App, BrokerError, PublishRefused, PublishUnknown, Retry, Settings, Topic
from waybill.doctor import examine
from waybill.findings import Finding
from waybill.redrive import redrive
from waybill.topology import Subscription
from waybill_rabbitmq import RabbitMQ
from waybill_rabbitmq.rights import Rights, consuming, letters, making, publishing

ORDERS = Topic("orders.placed", int, key=str, groups=["group", "other"])
GROUP = Subscription(topic=ORDERS.spec, group="group")


def user(boss: Administration, url: str, rights: Rights) -> AbstractContextManager[str]:
    configure, write, read = rights.patterns
    return boss.user(url, configure=configure, write=write, read=read)


def app(url: str, topic: Topic[int] = ORDERS, *, mode: str = "verify", group: str = "group") -> App:
    return App(group, settings=Settings(url=url, topology=mode), topics=[topic])  # type: ignore[arg-type]


@contextmanager
def roles(boss: Administration, url: str) -> Generator[tuple[str, str, str, str]]:
    everyone = publishing(ORDERS.spec), consuming(GROUP), letters(GROUP), making([ORDERS.spec])
    with (
        user(boss, url, everyone[0]) as publisher,
        user(boss, url, everyone[1]) as consumer,
        user(boss, url, everyone[2]) as operator,
        user(boss, url, everyone[3]) as maker,
    ):
        yield publisher, consumer, operator, maker


@pytest.mark.parametrize("ordered", [False, True])
async def test_each_role_does_its_own_work(boss: Administration, url: str, ordered: bool) -> None:
    with roles(boss, url) as (publisher, consumer, operator, maker):
        topic = ORDERS.on(RabbitMQ(partitions=2)) if ordered else ORDERS
        async with app(maker, topic, mode="create").running(consume=False):
            pass
        service, handled, broken = app(consumer, topic), list[int](), True

        @service.consume(topic, ordered=ordered, retry=Retry(attempts=2, first=0.2))
        async def handle(number: int) -> None:
            handled.append(number)
            if number == 2 and broken:
                raise ValueError("an odd one")

        async with service.running(), app(publisher, topic).running(consume=False) as sender:
            await sender.publish(topic, 1)
            await sender.publish(topic, 2)
            await sender.publish(topic, 3, delay=0.2)
            await until(lambda: sorted(handled) == [1, 2, 2, 3])
            desk = app(operator, topic)
            await eventually(lambda: dead(desk, topic))
            broken = False
            async with desk.connected() as brokers:
                await redrive(brokers.of(topic.spec), GROUP, lambda _: True)
            await until(lambda: len(handled) == 5)


async def test_no_role_does_anothers(boss: Administration, url: str) -> None:
    with roles(boss, url) as (publisher, consumer, _, maker):
        with pytest.raises(BrokerError, match="refused for user"):
            async with app(consumer, mode="create").running(consume=False):
                pass
        async with app(maker, mode="create").running(consume=False):
            pass
        async with app(consumer).running(consume=False) as thief:
            with pytest.raises((PublishRefused, PublishUnknown), match="ACCESS_REFUSED"):
                await thief.publish(ORDERS, 1)
        spy = app(publisher)

        @spy.consume(ORDERS)
        async def handle(number: int) -> None:
            raise AssertionError(number)

        with pytest.raises(BrokerError, match="ACCESS_REFUSED"):
            async with spy.running():
                pass


async def test_doctor_names_what_a_role_lacks(boss: Administration, url: str) -> None:
    async with app(url, mode="create").running(consume=False):
        pass

    async def handle(number: int) -> None:
        raise AssertionError(number)

    with roles(boss, url) as (publisher, consumer, _, _):
        sender, service, wrong = app(publisher), app(consumer), app(publisher)
        service.consume(ORDERS)(handle)
        wrong.consume(ORDERS)(handle)
        assert not [found for found in await examined(sender) if found.trouble]
        assert not [found for found in await examined(service) if found.trouble]
        (lacking,) = [found for found in await examined(wrong) if found.what == "consume orders.placed/group"]
    assert lacking.trouble is not None
    assert lacking.fix is not None
    assert lacking.trouble.endswith(
        "may not write orders.placed/group, write orders.placed/group/dead, read orders.placed/group"
    )
    assert r"'^(orders\.placed/group(/\d+)?)$'" in lacking.fix


async def examined(app: App) -> list[Finding]:
    found: list[Finding] = []
    await examine(app, [], found.append)
    return found
