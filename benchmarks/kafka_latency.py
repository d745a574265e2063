"""From `publish` to the handler's start on Kafka, at 1,000 messages a second, confirmed, in one process; 8 partitions.

Ten pairs of rounds in turn, ours and aiokafka, neither waiting for more to share a batch with; each line is the median of
what a pair's rounds are apart. The publisher keeps to its schedule and waits for none of its messages.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from benchmarks.brokers import arriving, in_pairs
from benchmarks.harness import Row, Run
from benchmarks.kafka import GROUP, application, broker, by_hand, made, ours
from benchmarks.latency import Arrivals
from benchmarks.payload import Order, adapter

__all__ = ["measure"]

RATE = 1_000


def measure(run: Run) -> list[Row]:
    """Milliseconds longer than aiokafka, beside what aiokafka takes."""
    return in_pairs(run, "Kafka", RATE, _ours, _aiokafka, whose="aiokafka")


async def _ours(count: int) -> list[float]:
    topic, arrivals = ours(), Arrivals(count)
    app = application(topic)
    app.consume(topic, ordered=True, concurrency=64)(arrivals.handle)
    async with app.running():
        return await arriving(count, RATE, lambda order: app.publish(topic, order), arrivals)


async def _aiokafka(count: int) -> list[float]:
    topic, arrivals = await made(), Arrivals(count)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker().address, group_id=GROUP, auto_offset_reset="earliest")
    async with by_hand() as producer:
        await consumer.start()  # it has joined its group then

        async def publish(order: Order) -> None:
            await producer.send_and_wait(topic, adapter.dump_json(order), key=order.customer_id.encode())

        async def consume() -> None:
            async for record in consumer:
                await arrivals.handle(adapter.validate_json(record.value))

        consuming = asyncio.create_task(consume())
        try:
            return await arriving(count, RATE, publish, arrivals)
        finally:
            consuming.cancel()
            await asyncio.wait([consuming])
            await consumer.stop()
