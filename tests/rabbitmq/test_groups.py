"""A group that a contract named first, and that is consumed in order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiormq
import pytest
from aiormq import spec

from tests.rabbitmq.looking import until
from waybill import App, Settings, Topic
from waybill_rabbitmq import RabbitMQ

TURNS = 5


def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slow broker answer who leaves it."""
    monkeypatch.setattr("waybill.fetching.LAST_CALL", 15.0)
    monkeypatch.setattr("waybill_rabbitmq.source.PARTING", 15.0)


async def test_what_lay_there_comes_first_and_in_order_and_members_may_start_at_once(url: str) -> None:
    topic = Topic("orders", int, key=lambda number: str(number % 3), groups=["group"])
    handled: list[int] = []
    apps = [App("group", settings=Settings(url=url)) for _ in range(3)]
    for app in apps:

        @app.consume(topic, ordered=True)
        async def handle(number: int) -> None:
            handled.append(number)

    publisher = App("publisher", settings=Settings(url=url))
    async with publisher.running(consume=False), AsyncExitStack() as stack:
        for number in range(30):
            await publisher.publish(topic, number)
        published, starting = 30, asyncio.gather(*(stack.enter_async_context(app.running()) for app in apps))
        while not starting.done() or published < 500:  # the partitions take the queue's place under way
            await publisher.publish(topic, published)
            published += 1
        await starting
        async with asyncio.timeout(30):
            while len(handled) < published:
                await asyncio.sleep(0.02)
    for key in range(3):
        assert [number for number in handled if number % 3 == key] == list(range(key, published, 3))


async def test_members_share_the_partitions_when_they_join_and_take_them_over_when_they_leave(url: str) -> None:
    topic = Topic("orders", int, key=lambda number: str(number % 100), groups=["group"])
    handled, everything = dict[str, list[int]](), list[int]()

    def member(name: str) -> App:
        app, mine = App("group", settings=Settings(url=url)), handled.setdefault(name, [])

        @app.consume(topic, ordered=True)
        async def handle(number: int) -> None:
            mine.append(number)
            everything.append(number)

        return app

    published = 0
    publisher = App("publisher", settings=Settings(url=url))

    async def another_hundred() -> dict[str, int]:
        """How many of a message of each key every member handles."""
        nonlocal published
        for mine in handled.values():
            mine.clear()
        await publisher.publish_many(topic, range(published, published + 100))
        published += 100
        await until(lambda: sum(map(len, handled.values())) >= 100)
        return {name: len(mine) for name, mine in handled.items()}

    async def shared_by(*names: str) -> None:
        """Within a few looks of theirs each of these has its share, and nobody else any."""
        least = 100 // len(names) // 2
        async with asyncio.timeout(20):
            while True:
                counts = await another_hundred()
                if all(counts[name] >= least for name in names) and sum(counts[name] for name in names) == 100:
                    return

    async with publisher.running(consume=False), member("one").running():
        await shared_by("one")
        async with member("two").running():
            await shared_by("one", "two")
            async with member("three").running():
                await shared_by("one", "two", "three")
            await shared_by("one", "two")
        await shared_by("one")
    for key in range(100):
        first = list(dict.fromkeys(number for number in everything if number % 100 == key))
        assert first == list(range(key, published, 100))


@pytest.mark.parametrize("ordered", [False, True])
async def test_what_others_publish_under_keys_of_their_own_reaches_every_group(url: str, ordered: bool) -> None:
    topic = Topic("orders", int, key=str).on(RabbitMQ(partitions=4))
    handled: set[tuple[str, int]] = set()
    apps = [App(name, settings=Settings(url=url)) for name in ("one", "two")]

    def consume(app: App, group: str) -> None:
        @app.consume(topic, ordered=ordered)
        async def handle(number: int) -> None:
            handled.add((group, number))

    for app, group in zip(apps, ("one", "two"), strict=True):
        consume(app, group)
    keys = ["", "orders.eu", "3", "99", "a.b.7"]
    async with apps[0].running(), apps[1].running(), aiormq.connect(url) as connection:
        channel = await connection.channel()
        for number, key in enumerate(keys):
            answer = await channel.basic_publish(
                str(number).encode(), exchange="orders", routing_key=key, mandatory=True
            )
            assert isinstance(answer, spec.Basic.Ack)
        await until(lambda: handled == {(group, number) for group in ("one", "two") for number in range(len(keys))})


async def test_nobody_who_publishes_notices_that_an_ephemeral_group_goes(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(monkeypatch)
    topic = Topic("orders", int, groups=["lasting"])
    publisher, passing = App("publisher", settings=Settings(url=url)), App("passing", settings=Settings(url=url))
    seen: set[int] = set()
    going = False

    @passing.consume(topic, ephemeral=True)
    async def show(number: int) -> None:
        seen.add(number)

    async def publish(first: int) -> None:
        """Raises where the broker refuses one, or has none to keep it."""
        number = first
        while not going:
            await publisher.publish(topic, number)
            number += 1

    async with publisher.running(consume=False):
        for turn in range(TURNS):
            seen.clear()
            going = False
            async with asyncio.TaskGroup() as group:
                async with passing.running():
                    group.create_task(publish(turn))
                    await until(lambda: len(seen) > 10)
                going = True


async def test_a_member_that_connects_anew_is_counted_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted more often, it would give away what nobody else takes, again and again."""
    slowly(monkeypatch)
    topic = Topic("orders", int, key=str, groups=["group"])
    app, handled = App("group", settings=Settings(url=url)), list[int]()

    @app.consume(topic, ordered=True)
    async def handle(number: int) -> None:
        handled.append(number)

    async with app.running():
        for _ in range(3):
            await app.consumer(topic).reconnect()
        await app.publish(topic, 1)
        await until(lambda: handled == [1])
        connection = await aiormq.connect(url)
        try:
            channel = await connection.channel()
            counted = await channel.queue_declare("orders/group/members", passive=True)
        finally:
            await connection.close()
    assert counted.consumer_count == 1
