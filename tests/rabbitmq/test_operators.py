"""What other clients and operators do to queues and exchanges while they are used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiormq
import pytest

from tests.brokers.administration import Administration
from tests.rabbitmq.looking import until
from waybill import App, Confirmed, PublishRefused, PublishUnknown, Refused, Settings, Topic
from waybill_rabbitmq import RabbitMQ

ORDERS = Topic("orders", int, groups=["group"])
OTHERS = Topic("others", int, groups=["group"])


@asynccontextmanager
async def operator(url: str) -> AsyncGenerator[Any, None]:
    async with aiormq.connect(url) as connection:
        yield await connection.channel()


def consuming(url: str, *topics: Topic[int], **options: Any) -> tuple[App, list[tuple[str, int]]]:
    app, handled = App("group", settings=Settings(url=url)), list[tuple[str, int]]()

    def handler(name: str) -> Callable[[int], Any]:
        async def handle(number: int) -> None:
            handled.append((name, number))

        return handle

    for topic in topics:
        app.consume(topic, **options)(handler(topic.name))
    return app, handled


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_queue_that_another_deletes_is_missed_and_not_made_again(url: str, ordered: bool) -> None:
    topics = [Topic(name, int, key=str).on(RabbitMQ(partitions=2 if ordered else 1)) for name in ("orders", "others")]
    app, handled = consuming(url, *topics, ordered=ordered)
    async with app.running(), operator(url) as channel:
        queues = ["orders/group/0", "orders/group/1"] if ordered else ["orders/group"]
        for queue in queues:
            await channel.queue_delete(queue)
        trouble = await until(lambda: [part for part in app.health().parts if "any more" in str(part.reasons)])
        assert "orders/group does not exist on this broker any more" in str(trouble)
        await app.publish(topics[1], 1)
        await until(lambda: ("others", 1) in handled)
        with pytest.raises(aiormq.exceptions.ChannelNotFoundEntity):
            await channel.queue_declare(queues[0], passive=True)


async def test_a_queue_that_is_another_after_an_outage_stops_its_own_consumer_only(
    boss: Administration, url: str
) -> None:
    app, handled = consuming(url, ORDERS, OTHERS)
    async with app.running():
        async with operator(url) as channel:
            await channel.queue_delete("orders/group")
            await channel.queue_declare(
                "orders/group", durable=True, arguments={"x-queue-type": "classic", "x-max-length": 3}
            )
            await channel.queue_bind("orders/group", "orders/group", "#")
        await asyncio.to_thread(boss.close_connections, url)
        await until(lambda: app.health().ok, 20)
        await app.publish(OTHERS, 1)
        await until(lambda: ("others", 1) in handled)
    again = App("group", settings=Settings(url=url, topology="verify"), topics=[ORDERS])
    with pytest.raises(Exception, match=r"orders/group: \S+: \S+ there, \S+ in the code"):
        async with again.running(consume=False):
            pass


async def test_an_exchange_that_goes_in_the_middle_fails_its_own_publishes_and_no_others(url: str) -> None:
    app = App("group", settings=Settings(url=url), topics=[ORDERS, OTHERS])
    async with app.running(consume=False), operator(url) as channel:

        async def one(topic: Topic[int], number: int) -> object:
            try:
                return await app.publish(topic, number)
            except (PublishRefused, PublishUnknown) as error:
                return error

        assert {type(await one(topic, 0)) for topic in (ORDERS, OTHERS)} == {Confirmed}
        before = [asyncio.create_task(one(topic, n)) for n in range(50) for topic in (ORDERS, OTHERS)]
        await asyncio.sleep(0)
        await channel.exchange_delete("orders")
        after = [asyncio.create_task(one(topic, n)) for n in range(50) for topic in (ORDERS, OTHERS)]
        results = [*await asyncio.gather(*before), *await asyncio.gather(*after)]
        assert {type(result) for result in results[1::2]} == {Confirmed}
        with pytest.raises(PublishRefused, match="does not exist on this broker"):
            await app.publish(ORDERS, 1)


async def test_a_broker_that_refuses_what_is_too_much_loses_nothing(url: str) -> None:
    topic = Topic("orders", int, groups=["group"], max_length=10)
    app = App("group", settings=Settings(url=url), topics=[topic])
    async with app.running(consume=False):
        results = [(await app.publish_many(topic, [number]))[0] for number in range(30)]
    assert {type(result) for result in results} == {Confirmed, Refused}
    receiver, handled = consuming(url, topic)
    stored = {number for number, result in enumerate(results) if isinstance(result, Confirmed)}
    async with receiver.running():
        await until(lambda: {number for _, number in handled} == stored)
    assert len(handled) == len(stored)
