"""What a worker holds while 5,000,000 messages wait on Kafka and its handler is slow: `waybill run`, a real process."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.harness import Row, Run, alone
from benchmarks.kafka import GROUP, application, broker, by_hand
from benchmarks.payload import KEYS, ORDERS, body, order
from benchmarks.workers import resident, ticks, worker
from waybill.addressing import partition_of
from waybill.topology import Subscription

__all__ = ["measure"]

WAITING = 5_000_000
SECONDS = 20.0


def measure(run: Run) -> list[Row]:
    """MiB."""
    count, seconds = run.messages(WAITING), SECONDS if run.scale == 1 else SECONDS / 4
    with worker("slow", broker().url) as (_, pid):
        empty = resident(pid)
    asyncio.run(_fill(count))
    before = asyncio.run(_waiting())
    with worker("slow", broker().url) as (_, pid):
        sizes = [resident(pid) for _ in ticks(seconds)]
    if not count / 2 < (left := asyncio.run(_waiting())) < before:
        raise RuntimeError(f"{left:,.0f} of {count:,} are left: the slow worker handled nothing, or nearly all")
    what = f"Kafka worker, {count:,} waiting, slow handler"
    return [
        alone(what, "MiB resident", max(sizes), baseline=empty),
        alone(f"{what}: highest less lowest", "MiB", max(sizes) - min(sizes), at_most=20),
    ]


async def _fill(count: int) -> None:
    """Whole batches, each of one partition: the quickest way in."""
    async with by_hand() as producer:
        partitions = len(await producer.partitions_for(ORDERS.name))
        records: dict[int, list[tuple[bytes, bytes]]] = {number: [] for number in range(partitions)}
        for number in range(KEYS):
            key = order(number).customer_id.encode()
            records[partition_of(key, partitions)].append((key, body(number)))
        await asyncio.gather(
            *(_fill_one(producer, number, own, count // partitions) for number, own in records.items())
        )


async def _fill_one(producer: Any, number: int, records: list[tuple[bytes, bytes]], count: int) -> None:
    left = count
    while left > 0:
        batch = producer.create_batch()
        while left > 0:
            key, value = records[left % len(records)]
            if batch.append(timestamp=None, key=key, value=value) is None:
                break
            left -= 1
        await (await producer.send_batch(batch, ORDERS.name, partition=number))


async def _waiting() -> float:
    async with application(ORDERS).admin() as admin:
        ready = (await admin.backlog(Subscription(topic=ORDERS.spec, group=GROUP))).ready
    return ready.value or 0.0
