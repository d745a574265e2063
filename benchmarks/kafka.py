"""What the cases on Kafka share: a broker, topics of eight partitions, our application, and a producer driven by hand.

The broker is that of the tests (tests/brokers): the one that `TEST_KAFKA` names, else a container, else a process of this
machine. Everybody publishes idempotently with `acks=all`; batches are of 256 KB at most, and nobody waits for more.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks import brokers
from benchmarks.payload import Order, body, order
from tests.brokers.running import Running
from waybill import App, Confirmed, Settings, Topic
from waybill_kafka import Kafka

__all__ = ["BATCH", "GROUP", "PARTITIONS", "application", "broker", "by_hand", "feed", "fill", "made", "ours"]

GROUP = "bench"
PARTITIONS = 8
BATCH = 256 << 10
NUMBERS = itertools.count()


def broker() -> Running:
    return brokers.broker("kafka")


def application(*topics: Topic[Order]) -> App:
    return App(GROUP, settings=Settings(url=broker().url), topics=topics)


def ours(partitions: int = PARTITIONS) -> Topic[Order]:
    """A topic that was not there before."""
    topic = Topic(f"bench.ours-{next(NUMBERS)}", Order, key=lambda order: order.customer_id, groups=[GROUP])
    return topic.on(Kafka(partitions=partitions))


async def made(partitions: int = PARTITIONS) -> str:
    """The same for all others."""
    name = f"bench.by-hand-{next(NUMBERS)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker().address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
        while not (await admin.describe_topics([name]))[0]["partitions"]:
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
    return name


@asynccontextmanager
async def by_hand(**options: Any) -> AsyncIterator[AIOKafkaProducer]:
    told = {"acks": "all", "enable_idempotence": True, "max_batch_size": BATCH} | options
    producer = AIOKafkaProducer(bootstrap_servers=broker().address, **told)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def feed(producer: AIOKafkaProducer, topic: str, numbers: Iterator[int]) -> None:
    """As fast as one task can: what it gives to the library it waits for in the end."""
    waiting: list[Any] = []
    for number in numbers:
        key = order(number).customer_id.encode()
        waiting.append(await producer.send(topic, body(number), key=key))
    await asyncio.gather(*waiting)


async def fill(topic: str | Topic[Order], count: int) -> None:
    """Put so many orders there."""
    if isinstance(topic, str):
        async with by_hand() as producer:
            await feed(producer, topic, iter(range(count)))
        return
    app = application(topic)
    async with app.running(consume=False):
        results = await app.publish_many(topic, [order(number) for number in range(count)])
    if not all(isinstance(result, Confirmed) for result in results):
        raise RuntimeError("what was to be consumed could not be published")
