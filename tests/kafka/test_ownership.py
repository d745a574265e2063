"""Who has a partition, as its adapter sees it: what an earlier owner says later counts for nothing, and a release is of one message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tests.brokers.running import Running
from waybill import Delivery, Retry, Topic
from waybill.adapter import Source
from waybill.outcomes import ACK, DONE, LOST, RELEASE, Settled
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task
from waybill_kafka import Kafka


@asynccontextmanager
async def member(bench: Bench, topic: Topic[Task]) -> AsyncGenerator[Source, None]:
    """One member of the group, without a consumer around it."""
    async with bench.app().connected() as brokers:
        adapter = brokers.of(topic.spec)
        async with adapter.source(bench.subscription(topic), window=20, notify=lambda _: None) as source:
            yield source


async def received(source: Source, number: int, *, within: float = 20.0) -> list[Delivery[Any]]:
    found: list[Delivery[Any]] = []
    end = time.monotonic() + within
    while len(found) < number:
        assert time.monotonic() < end, f"only {len(found)} of {number} came"
        found += await source.receive(number - len(found))
    return found


async def with_partitions(bench: Bench, number: int, *, messages: int) -> Topic[Task]:
    """A topic with so many partitions and messages, of which a group has handled none."""
    topic: Topic[Task] = bench.topic(groups=["group"]).on(Kafka(partitions=number))
    await bench.publish(topic, *(Task(n, str(n)) for n in range(messages)))
    return topic


async def committed(kafka: Running, topic: Topic[Task], partition: int = 0) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(f"{topic.name}..group")
        return int(found[TopicPartition(topic.name, partition)].offset)
    finally:
        await admin.close()


def offsets(deliveries: Sequence[Delivery[Any]]) -> list[int]:
    return [delivery.native.offset for delivery in deliveries]


async def test_what_an_earlier_owner_says_when_the_partition_has_come_back_to_it_is_lost(
    bench: Bench, kafka: Running
) -> None:
    bench.broker.options["kafka"]["rebalance_timeout"] = 1.0  # type: ignore[index]
    topic = await with_partitions(bench, 2, messages=8)
    async with member(bench, topic) as first:
        early = await received(first, 8)
        async with member(bench, topic) as second:
            (between,) = await received(second, 1)  # after a second one of the two goes as it is
            await second.settle([Settled(between, RELEASE)])
        gone = [delivery for delivery in early if delivery.partition == between.partition]
        (late,) = await received(first, 1)
        assert (late.partition, late.native.offset) == (between.partition, 0), "it has come back"
        assert await first.settle([Settled(delivery, ACK) for delivery in gone]) == [LOST] * len(gone)
        await asyncio.sleep(0.6)  # longer than a commit takes: none must come
        number = late.native.partition
        assert await committed(kafka, topic, number) == 0, "what it is handling anew counts as handled"
        assert await first.settle([Settled(late, ACK)]) == [DONE]
        await bench.eventually(
            lambda: committed(kafka, topic, number), lambda at: at == 1, "what it has handled counts"
        )


async def test_what_is_released_comes_back_alone(bench: Bench, kafka: Running) -> None:
    topic = await with_partitions(bench, 1, messages=8)
    async with member(bench, topic) as source:
        given = await received(source, 8)
        await source.settle([Settled(delivery, ACK) for delivery in given[4:6]])
        await source.settle([Settled(given[2], RELEASE)])
        again = await received(source, 1)
        assert offsets(again) == [2]
        assert not await source.receive(8), "what lies behind it came once more"
        rest = [given[place] for place in (0, 1, 3, 6, 7)] + again
        assert await source.settle([Settled(delivery, ACK) for delivery in rest]) == [DONE] * 6
        await bench.eventually(lambda: committed(kafka, topic), lambda at: at == 8, "all are done with")


async def test_a_member_that_comes_takes_away_nothing_that_is_at_work(bench: Bench) -> None:
    topic = bench.topic()
    first, journal = bench.consumer(topic, retry=Retry.none(), concurrency=20)
    async with first.running():
        await first.publish_many(topic, [Task(n, str(n), "wait") for n in range(20)])
        await bench.until(lambda: journal.running == 20, "it has something at work in every partition")
        second, others = bench.consumer(topic)
        async with second.running():
            await bench.never(
                lambda: journal.of("cancelled") or others.of("started"), "its work is taken away", during=3.0
            )
            bench.open_gate()
            await bench.until(lambda: set(journal.numbers()) == set(range(20)), "it ends what it has begun")
            await bench.settled(topic)
            more = [Task(n, str(n)) for n in range(20, 60)]
            while not others.of("done"):
                await first.publish_many(topic, more)
            await bench.settled(topic)
    assert {number for number in others.numbers("started") if number < 20} == set()


async def test_what_was_at_work_when_a_member_came_is_not_committed(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    holder = await bench.worker(topic, concurrency=20)
    await bench.publish(topic, *(Task(n, str(n), "wait") for n in range(20)))
    await bench.until(lambda: holder.journal().running == 20, "it has all of them at work", every=0.05)
    other = await bench.worker(topic, concurrency=20)
    await asyncio.sleep(1.0)  # by then they have shared the partitions anew: nobody tells
    holder.kill()
    bench.open_gate()
    await bench.until(
        lambda: set(other.journal().numbers()) == set(range(20)), "what the killed one had not ended is handled",
        every=0.05, within=40,
    )  # fmt: skip


async def test_what_is_settled_too_late_comes_again_though_the_broker_is_heard_of_right_after(bench: Bench) -> None:
    topic = await with_partitions(bench, 1, messages=3)
    async with member(bench, topic) as source:
        first = await received(source, 3)
        of_ours: Any = source
        heard = of_ours._member._heard
        of_ours._member._heard = heard - 60.0  # a minute without a word
        assert await source.settle([Settled(delivery, ACK) for delivery in first]) == [LOST] * 3
        of_ours._member._heard = heard
        again = await received(source, 3)
        assert offsets(again) == [0, 1, 2]
        assert await source.settle([Settled(delivery, ACK) for delivery in again]) == [DONE] * 3
