"""From `publish` to the handler's start on Kafka, at 1,000 messages a second, confirmed, in one process; 8 partitions.

Ten pairs of rounds in turn, ours and aiokafka, neither waiting for more to share a batch with; each line is the median of
what a pair's rounds are apart. The publisher keeps to its schedule and waits for none of its messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median

from aiokafka import AIOKafkaConsumer

from benchmarks.harness import Row, Run, alone, interleave
from benchmarks.kafka import GROUP, application, broker, by_hand, made, ours
from benchmarks.latency import RATE, Arrivals, paced, percentiles
from benchmarks.payload import Order, adapter

__all__ = ["measure"]

SECONDS = 4.0
PAIRS = 10
PATIENCE = 30.0
LIMITS = {"p50": 1.0, "p99": 5.0, "max": None}
"""Milliseconds that ours may take longer."""


def measure(run: Run) -> list[Row]:
    """Milliseconds longer than aiokafka, beside what aiokafka takes."""
    count, pairs = int(RATE * SECONDS), PAIRS if run.scale == 1 else 3
    found = interleave(
        {
            "ours": lambda: percentiles(asyncio.run(_ours(count))),
            "aiokafka": lambda: percentiles(asyncio.run(_aiokafka(count))),
        },
        pairs,
    )
    rows: list[Row] = []
    for name, limit in LIMITS.items():
        mine, raw = ([figures[name] for figures in found[whose]] for whose in ("ours", "aiokafka"))
        apart = median(a - b for a, b in zip(mine, raw, strict=True))
        rows += [
            alone(f"Kafka latency {name} at {RATE}/s", "ms", median(mine), baseline=median(raw)),
            alone(f"Kafka latency {name}, more than aiokafka", "ms", apart, at_most=limit),
        ]
    return rows


async def _publishing(count: int, publish: Callable[[Order], Awaitable[object]], arrivals: Arrivals) -> list[float]:
    async with asyncio.TaskGroup() as under_way:

        async def one(order: Order) -> None:
            await publish(order)

        def start(order: Order) -> None:
            under_way.create_task(one(order))

        await paced(count, start)
        await asyncio.wait_for(arrivals.complete.wait(), PATIENCE)
    return arrivals.seconds


async def _ours(count: int) -> list[float]:
    topic, arrivals = ours(), Arrivals(count)
    app = application(topic)
    app.consume(topic, ordered=True, concurrency=64)(arrivals.handle)
    async with app.running():
        return await _publishing(count, lambda order: app.publish(topic, order), arrivals)


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
            return await _publishing(count, publish, arrivals)
        finally:
            consuming.cancel()
            await asyncio.wait([consuming])
            await consumer.stop()
