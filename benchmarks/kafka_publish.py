"""Publishing to Kafka, confirmed, with 1,000 callers at once, each waiting for its own message; 256-byte bodies, 8 partitions.

- ours: `app.publish` with a key, and all that its envelope says.
- aiokafka by hand: one task that encodes and sends, and waits for all confirms in the end; nobody can be faster.
- aiokafka, callers: `send_and_wait` in each of the callers, all to one partition, in batches of the library's own 16 KB.
- FastStream: `broker.publish` of the object in each of the callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.harness import Meter, Row, Run, against, alone, interleave
from benchmarks.kafka import BATCH, application, broker, by_hand, feed, made, ours
from benchmarks.payload import adapter, order

__all__ = ["measure"]

MESSAGES = 19_200
CALLERS = 1_000
ITS_OWN = 16 << 10
ABOVE = 12.0
"""Microseconds that ours may cost more than one task by hand."""


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    count = run.messages(MESSAGES)
    found = interleave(
        {
            "ours": lambda: _timed(_ours, count),
            "by hand": lambda: _timed(_by_hand, count),
            "callers": lambda: _timed(_callers_by_hand, count),
            "faststream": lambda: _timed(_faststream, count),
        },
        run.rounds,
    )
    unit = "us CPU/message"
    apart = [a - b for a, b in zip(found["ours"], found["by hand"], strict=True)]
    return [
        against("Kafka publish vs aiokafka by hand", unit, found["ours"], found["by hand"]),
        alone("Kafka publish, more than aiokafka by hand", unit, sorted(apart)[len(apart) // 2], at_most=ABOVE),
        against("Kafka publish vs send_and_wait in each caller", unit, found["ours"], found["callers"], at_most=0.2),
        against("Kafka publish vs FastStream", unit, found["ours"], found["faststream"], at_most=1.0),
    ]


def _timed(contender: Callable[[int, Meter], Awaitable[None]], count: int) -> float:
    meter = Meter()
    asyncio.run(_awaited(contender, count, meter))
    return meter.per_message(count)


async def _awaited(contender: Callable[[int, Meter], Awaitable[None]], count: int, meter: Meter) -> None:
    await contender(count, meter)


async def _callers(count: int, meter: Meter, publish: Callable[[int], Awaitable[object]]) -> None:
    async def caller(first: int) -> None:
        for number in range(first, count, CALLERS):
            await publish(number)

    await publish(0)  # opens what is opened once
    with meter:
        await asyncio.gather(*(caller(first) for first in range(CALLERS)))


async def _ours(count: int, meter: Meter) -> None:
    topic = ours()
    app = application(topic)
    async with app.running(consume=False):
        await _callers(count, meter, lambda number: app.publish(topic, order(number)))


async def _by_hand(count: int, meter: Meter) -> None:
    topic = await made()
    async with by_hand() as producer:
        await feed(producer, topic, iter(range(1)))
        with meter:
            await feed(producer, topic, iter(range(count)))


async def _callers_by_hand(count: int, meter: Meter) -> None:
    topic = await made(1)
    async with by_hand(max_batch_size=ITS_OWN) as producer:

        async def publish(number: int) -> None:
            value = order(number)
            await producer.send_and_wait(topic, adapter.dump_json(value), key=value.customer_id.encode())

        await _callers(count, meter, publish)


async def _faststream(count: int, meter: Meter) -> None:
    from faststream.kafka import KafkaBroker

    topic = await made()
    async with KafkaBroker(
        broker().address, acks="all", enable_idempotence=True, max_batch_size=BATCH, logger=None
    ) as peer:

        async def publish(number: int) -> None:
            value = order(number)
            await peer.publish(value, topic, key=value.customer_id.encode())

        await _callers(count, meter, publish)
