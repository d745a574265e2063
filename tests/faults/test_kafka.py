"""What goes wrong with Kafka alone: refused batches, unreadable ones, rebalances in the middle of work, other programs.

Rows 45, 46, 47, 49 and 50 of the table of faults, and what is near them. Row 48, a leader and the group's coordinator killed,
needs more than one server: tests/brokers/test_kafka_cluster_load.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiokafka.codec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tests.brokers.owning import native
from tests.brokers.running import Running
from tests.contract.kafka import Kafka as Harness
from waybill import Confirmed, Delivery, Refused, Retry, Status, Tombstone, Topic
from waybill_contracts.bench import Bench
from waybill_contracts.faults.fault import SOAK
from waybill_contracts.faults.range import WINDOW, Range
from waybill_contracts.tasks import Task
from waybill_kafka import Kafka

pytestmark = pytest.mark.broker("kafka")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench, None]:
    async with Harness().broker(tmp_path) as broker:
        with Bench(broker, tmp_path) as bench:
            yield bench


@asynccontextmanager
async def raw(server: Running, **options: Any) -> AsyncGenerator[AIOKafkaProducer, None]:
    async with AIOKafkaProducer(bootstrap_servers=server.address, **options) as producer:
        yield producer


def collecting(bench: Bench, topic: Topic[Any], **options: Any) -> tuple[Any, list[Delivery[Any]]]:
    app, given = bench.app(), list[Delivery[Any]]()

    @app.consume(topic, **options)
    async def note(_: Any, delivery: Delivery[Any]) -> None:
        given.append(delivery)

    return app, given


async def test_what_the_topic_refuses_for_its_size_fails_alone(bench: Bench) -> None:
    topic: Topic[bytes] = Topic(bench.name("small"), bytes).on(
        Kafka(partitions=1, config={"max.message.bytes": "10000"})
    )
    app, given = collecting(bench, topic)
    async with app.running():
        await app.publish(topic, b"before")
        (refused,) = await app.publish_many(topic, [b"x" * 50_000])
        assert isinstance(refused, Refused), refused
        results = await app.publish_many(topic, [b"%d" % number for number in range(100)])
        assert all(isinstance(result, Confirmed) for result in results)
        await bench.until(lambda: len(given) == 101, "all but the large one arrive")


CORRUPT = """
import sys
with open(sys.argv[1], "r+b") as log:
    log.seek(log.read().index(b"corruptible"))
    log.write(b"corrupted!!")
"""


async def test_a_batch_whose_checksum_is_wrong_holds_up_its_partition_alone(bench: Bench, kafka: Running) -> None:
    native(kafka, "and its log cannot be written to")
    topic: Topic[bytes] = Topic(bench.name("mixed"), bytes).on(Kafka(partitions=2))
    app, given = collecting(bench, topic)
    await bench.declare(app)
    async with raw(kafka) as plain:
        for body in (b"good", b"corruptible", b"behind"):
            await plain.send_and_wait(topic.name, body, partition=0)
        await plain.send_and_wait(topic.name, b"other", partition=1)
    kafka.run(sys.executable, "-c", CORRUPT, f"data/{topic.name}-0/00000000000000000000.log")
    async with app.running():
        await bench.until(lambda: {d.value for d in given} == {b"good", b"other"}, "what is readable is handled")
        await bench.until(lambda: "cannot be read at offset 1" in str(app.health().parts), "health names the place")
    bench.broker.options["kafka"]["skip_unreadable"] = True  # type: ignore[index]
    skipping, given = collecting(bench, topic)
    async with skipping.running():
        await bench.until(lambda: b"behind" in {d.value for d in given}, "by option it is left out")
    assert {d.value for d in given} == {b"behind"}


async def test_a_batch_that_cannot_be_read_holds_up_its_partition_alone_and_says_so(
    bench: Bench, kafka: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic: Topic[bytes] = Topic(bench.name("mixed"), bytes).on(Kafka(partitions=2))
    app, given = collecting(bench, topic)
    await bench.declare(app)
    async with raw(kafka) as plain, raw(kafka, compression_type="gzip") as packed:
        await plain.send_and_wait(topic.name, b"good", partition=0)
        await packed.send_and_wait(topic.name, b"unreadable", partition=0)
        await plain.send_and_wait(topic.name, b"behind", partition=0)
        await plain.send_and_wait(topic.name, b"other", partition=1)
    monkeypatch.setattr(aiokafka.codec, "has_gzip", lambda: False)
    async with app.running():
        await bench.until(lambda: {d.value for d in given} == {b"good", b"other"}, "what is readable is handled")
        await bench.until(lambda: "cannot be read at offset 1" in str(app.health().parts), "health names the place")
        async with raw(kafka) as plain:
            await plain.send_and_wait(topic.name, b"later", partition=1)
        await bench.until(lambda: b"later" in {d.value for d in given}, "the other partition goes on")
        assert app.health().status is Status.DEGRADED
    bench.broker.options["kafka"]["skip_unreadable"] = True  # type: ignore[index]
    skipping, given = collecting(bench, topic)
    async with skipping.running():
        await bench.until(lambda: b"behind" in {d.value for d in given}, "by option it is left out")
    assert b"unreadable" not in {d.value for d in given}


async def test_records_of_other_programs_are_delivered_with_what_they_have(bench: Bench, kafka: Running) -> None:
    topic = Topic.with_tombstones(bench.name("state"), bytes, key=lambda value: "key").on(Kafka(compaction=True))
    app, given = collecting(bench, topic)
    await bench.declare(app)
    async with raw(kafka) as producer:
        await producer.send_and_wait(topic.name, b"1", key=b"a", headers=[("h", b"1"), ("h", b"2")])
        await producer.send_and_wait(topic.name, None, key=b"a")
        await producer.send_and_wait(topic.name, b"", key=b"\xff")
        event = [("ce_specversion", b"1.0"), ("ce_id", b"42"), ("ce_type", b"placed"), ("ce_source", b"/shop")]
        await producer.send_and_wait(topic.name, b"2", key=b"b", headers=event)
    async with app.running():
        await bench.until(lambda: len(given) == 4, "all arrive")
        values = {delivery.message.id: delivery.value for delivery in given}
        assert Tombstone("a") in values.values()
        assert values["42"] == b"2"
        assert {"h": "2"} in [dict(delivery.message.headers) for delivery in given]
        assert not await bench.dead(topic)


async def test_what_a_wanted_partition_has_at_work_ends_there_and_goes_when_its_time_is_over(bench: Bench) -> None:
    topic = bench.topic()
    bench.broker.options["kafka"]["rebalance_timeout"] = 1.0  # type: ignore[index]
    first, journal = bench.consumer(topic, retry=Retry.none(), concurrency=20)
    async with first.running():
        await first.publish_many(topic, [Task(n, str(n), "wait") for n in range(20)])
        await bench.until(lambda: journal.running == 20, "it has something at work in every partition")
        second, others = bench.consumer(topic)
        async with second.running():
            await bench.until(lambda: others.of("started"), "after a second they go as they are")
            await bench.until(lambda: journal.of("cancelled"), "their first owner is told")
            bench.open_gate()
            await bench.until(lambda: {*journal.numbers(), *others.numbers()} == set(range(20)), "all are handled")
            await bench.settled(topic)
    assert len(journal.numbers()) + len(others.numbers()) == 20, "a late result counted"
    assert not await bench.dead(topic)


async def test_what_was_given_back_for_a_member_that_left_again_is_handled_all_the_same(bench: Bench) -> None:
    topic = bench.topic()
    staying, journal = bench.consumer(topic, retry=Retry.none(), ordered=True, concurrency=20)
    async with staying.running():
        await staying.publish_many(topic, [Task(n, str(n % 12), "wait") for n in range(60)])
        await bench.until(lambda: journal.running == 12, "of each partition it has some at work, and more that waits")
        passing, _ = bench.consumer(topic, shutdown_grace=0.5)
        async with passing.running():
            await asyncio.sleep(1.0)  # until the other has given back what it had not begun: nobody tells
        bench.open_gate()
        await bench.until(lambda: set(journal.numbers()) == set(range(60)), "nothing is left behind")
        await bench.settled(topic)


async def test_a_committed_offset_never_goes_back_while_members_come_and_go(bench: Bench, kafka: Running) -> None:
    topic = bench.topic()
    staying, journal = bench.consumer(topic, concurrency=4)
    seen: dict[TopicPartition, int] = {}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()

    async def look() -> None:
        for tp, found in (await admin.list_consumer_group_offsets(f"{topic.name}..group")).items():
            assert found.offset >= seen.get(tp, 0), f"{tp} went back from {seen[tp]} to {found.offset}"
            seen[tp] = found.offset
        await asyncio.sleep(0.02)

    done: list[int] = []
    async with staying.running():
        await staying.publish_many(topic, [Task(n, str(n % 40), "sleep=0.01") for n in range(600)])
        for turn in range(4):
            moving, others = bench.consumer(topic, concurrency=4, shutdown_grace=0.05)
            async with moving.running():
                while len({*journal.numbers(), *others.numbers(), *done}) < 100 * (turn + 1):
                    await look()
            done += others.numbers()
        await bench.until(lambda: {*journal.numbers(), *done} == set(range(600)), "all are handled", within=40)
        await bench.settled(topic)
        await look()
    await admin.close()
    assert sum(seen.values()) == 600, f"committed in the end: {seen}"


@pytest.mark.timeout(600)
async def test_members_come_and_go_and_are_killed_under_load_and_nothing_is_lost(bench: Bench) -> None:
    """D <= the unfinished window a kill, and the order of keys among first handlings."""
    place = Range(bench)
    await bench.declare(place.consumer())
    publisher = await place.publisher(busy=0.05)
    crew = [await place.worker(), await place.worker()]
    for turn in range(20 if SOAK else 4):
        kinds = ["killed", "leaves"] if len(crew) > 2 else ["killed", "leaves", "joins"] if len(crew) > 1 else ["joins"]
        kind = "killed" if turn == 0 else place.chance.choice(kinds)
        if kind == "joins":
            crew.append(await place.worker())
        else:
            victim = crew.pop(place.chance.randrange(len(crew)))
            if kind == "killed":
                await bench.until(lambda victim=victim: victim.journal().running > 0, "it is at work")  # type: ignore[misc]
                place.kill(victim)
            else:
                assert await victim.stop() == 0
        await place.busy()
    assert await publisher.stop() == 0
    await place.calm()
    for worker in crew:
        assert await worker.stop() == 0
    await place.holds(each=WINDOW, confirmed=50)
