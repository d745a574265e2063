"""The backlog beside what others write: markers and aborted records of transactions, compacted logs, and what is done out of turn."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from tests.brokers.running import Running
from waybill import Retry, Topic
from waybill.topology import Backlog, Exactness
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task
from waybill_kafka import Kafka


async def in_transactions(server: Running, topic: str, *rounds: tuple[bool, list[bytes]]) -> None:
    """Publish these, each lot in a transaction that is committed or aborted."""
    async with AIOKafkaProducer(bootstrap_servers=server.address, transactional_id=f"{topic}-tests") as producer:
        for commits, bodies in rounds:
            await producer.begin_transaction()
            for body in bodies:
                await producer.send_and_wait(topic, body, partition=0)
            await (producer.commit_transaction() if commits else producer.abort_transaction())


def plain(bench: Bench) -> Topic[bytes]:
    return Topic(bench.name("plain"), bytes).on(Kafka(partitions=1))


async def test_markers_and_aborted_records_are_no_backlog_and_hold_nothing_up(bench: Bench, kafka: Running) -> None:
    topic = plain(bench)
    app, given = bench.receiver(topic)
    await bench.declare(app)
    await in_transactions(
        kafka, topic.name, (True, [b"1", b"2"]), (False, [b"no", b"never"]), (True, [b"3"]), (False, [b"nor this"])
    )
    before = await bench.eventually(
        lambda: bench.backlog(topic), lambda b: b.ready.value == 3, "what is none is not counted"
    )
    assert before.ready.exactness is Exactness.EXACT
    async with app.running():
        await bench.until(lambda: [d.value for d in given] == [b"1", b"2", b"3"], "what was committed is handled")
        await bench.settled(topic)
        await bench.eventually(lambda: committed(kafka, topic), lambda at: at == 10, "it passes what is none")
        async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
            await producer.send_and_wait(topic.name, b"4", partition=0)
        await bench.until(lambda: given[-1].value == b"4", "it goes on behind them")
    await bench.eventually(
        lambda: bench.backlog(topic), lambda b: (b.ready.value, b.oldest.value) == (0, None), "nothing is left"
    )


async def committed(kafka: Running, topic: Topic[Any]) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(f"{topic.name}..group")
        return next(each.offset for tp, each in found.items() if tp.topic == topic.name)
    finally:
        await admin.close()


async def test_what_compaction_took_is_no_backlog(bench: Bench, kafka: Running) -> None:
    entries = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "100"}
    topic: Topic[bytes] = Topic(bench.name("state"), bytes, key=lambda _: "key").on(
        Kafka(partitions=1, compaction=True, config=entries)
    )
    app, given = bench.receiver(topic)
    await bench.declare(app)

    async def publish(*bodies: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
            for body in bodies:
                await producer.send_and_wait(topic.name, body, key=b"same", partition=0)
                await asyncio.sleep(0.15)  # longer than a segment lasts

    await publish(*(b"%d" % number for number in range(8)))

    async def compacted() -> Backlog:
        await publish(b"last")
        return await bench.backlog(topic)

    seen = await bench.eventually(compacted, lambda b: (b.ready.value or 99) <= 3, "it is compacted", within=60)
    assert seen.ready.exactness is Exactness.EXACT
    async with app.running():
        await bench.until(lambda: given and given[-1].value == b"last", "what is left is handled")
        await bench.settled(topic)
    assert len(given) < 8


async def test_what_is_done_behind_an_unfinished_message_is_counted_apart(bench: Bench) -> None:
    topic: Topic[Task] = bench.topic().on(Kafka(partitions=1))
    app, journal = bench.consumer(topic, retry=Retry.none(), concurrency=10)
    async with app.running():
        await app.publish_many(topic, [Task(0, "slow", "wait"), *(Task(n, str(n)) for n in range(1, 8))])
        await bench.until(lambda: len(journal.of("done")) == 7, "all but the first are handled")
        seen = await bench.eventually(
            lambda: bench.backlog(topic),
            lambda b: b.handled.value == 7 and b.oldest.value is not None,
            "those behind it are counted apart",
        )
        assert (seen.ready.value, seen.ready.exactness) == (1, Exactness.EXACT)
        ours = next(part for part in seen.parts if part.partition == f"{topic.name}/0")
        assert (ours.ready.value, ours.handled.value) == (1, 7)
        first = seen.oldest.value
        assert first is not None
        await asyncio.sleep(0.3)
        told = await bench.eventually(
            lambda: bench.backlog(topic), lambda b: b.oldest.value is not None, "its age is told"
        )
        later = told.oldest.value
        assert later is not None
        assert later >= first + 0.3, "the oldest is the unfinished one, whatever was done since"
        bench.open_gate()
        await bench.settled(topic)
    assert (await bench.backlog(topic)).handled.value == 0
