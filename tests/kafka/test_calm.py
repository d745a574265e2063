"""What cannot be had is asked for with pauses: neither processor nor log are full of it, however long it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from tests.brokers.running import Running
from tests.contract.kafka_verbs import Verbs
from waybill import Topic
from waybill_contracts.bench import Bench
from waybill_kafka import Kafka

WATCHED = 5.0
"""Seconds."""


@pytest.mark.disturbs
@pytest.mark.parametrize("what", ["nobody answers", "the topic is gone"])
async def test_what_cannot_be_had_is_asked_for_calmly(
    bench: Bench, verbs: Verbs, kafka: Running, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    topic = Topic(bench.name("calm"), bytes).on(Kafka(partitions=1))
    app, given = bench.receiver(topic)
    async with app.running():
        await app.publish(topic, b"1")
        await bench.until(lambda: bool(given), "it is handled")
        undo = await happens(what, verbs, kafka, topic.name)
        try:
            caplog.clear()
            spent = time.process_time()
            await asyncio.sleep(WATCHED)  # what is watched is what happens meanwhile
            assert time.process_time() - spent < WATCHED / 5
            assert len(caplog.records) < 40 * WATCHED
        finally:
            await undo()


async def happens(what: str, verbs: Verbs, kafka: Running, topic: str) -> Callable[[], Awaitable[None]]:
    """Returns what undoes it, as far as the others need that."""
    if what == "nobody answers":
        await verbs.kill()
        return verbs.restart
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()
    return nothing


async def nothing() -> None:
    """There is nothing to undo."""
