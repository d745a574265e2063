"""Consuming filled topics of Kafka: take, decode to a typed object, handle, commit; 8 partitions.

- ours: the application itself from the moment it runs, lanes by key, to the end of its orderly shutdown. At least once.
- aiokafka by hand: a loop of `getmany` with the same decoder, and a commit for each batch.
- FastStream, at most once: as it is by default, which commits before it handles.
- FastStream, at least once: it commits after each message.

And with a handler that waits for 10 ms, on one partition with 1,000 keys: ours with 256 at once, which keeps each key's order,
and FastStream's 256 workers, which keep none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from aiokafka import AIOKafkaConsumer

from benchmarks.harness import Meter, Row, Run, against, alone, interleave
from benchmarks.kafka import GROUP, application, broker, fill, made, ours
from benchmarks.payload import Order, adapter, handle
from benchmarks.rabbit_consume import Arrivals
from waybill import App

__all__ = ["measure"]

MESSAGES = 19_200
CONCURRENCY = 256
SLOW = 0.01
SLOWLY = 25_600
"""Messages for a handler that waits."""
FEWER = 8
"""The share of them, where each commits by itself."""
ABOVE = 12.0
"""Microseconds that ours may cost more than a loop by hand."""

Contender = Callable[[int, Meter], Awaitable[None]]


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message, and messages a second."""
    return [*_without_work(run, run.messages(MESSAGES)), *_waiting(run, run.messages(SLOWLY))]


def _without_work(run: Run, count: int) -> list[Row]:
    few = count // FEWER
    found = interleave(
        {
            "ours": lambda: _timed(_ours, count).per_message(count),
            "by hand": lambda: _timed(_by_hand, count).per_message(count),
            "at most once": lambda: _timed(_faststream, count).per_message(count),
            "at least once": lambda: _timed(_faststream_surely, few).per_message(few),
        },
        run.rounds,
    )
    unit, mine = "us CPU/message", found["ours"]
    apart = sorted(a - b for a, b in zip(mine, found["by hand"], strict=True))
    return [
        against("Kafka consume vs aiokafka by hand", unit, mine, found["by hand"]),
        alone("Kafka consume, more than aiokafka by hand", unit, apart[len(apart) // 2], at_most=ABOVE),
        against("Kafka consume vs FastStream at most once", unit, mine, found["at most once"], at_most=0.4),
        against("Kafka consume vs FastStream at least once", unit, mine, found["at least once"], at_most=0.1),
    ]


def _waiting(run: Run, count: int) -> list[Row]:
    found = interleave(
        {
            "ours": lambda: count / _timed(_ours_waiting, count).wall,
            "faststream": lambda: count / _timed(_faststream_waiting, count).wall,
        },
        run.rounds,
    )
    name = "Kafka consume, 10 ms each, 256 at once, vs FastStream"
    return [against(name, "messages/s wall", found["ours"], found["faststream"], at_least=2.0)]


def _timed(contender: Contender, count: int) -> Meter:
    meter = Meter()

    async def main() -> None:
        await contender(count, meter)

    asyncio.run(main())
    return meter


async def _wait(order: Order) -> None:
    del order
    await asyncio.sleep(SLOW)


async def _ours(count: int, meter: Meter) -> None:
    app, arrivals = await _application(count, handle)
    with ExitStack() as measured:
        async with app.running():
            measured.enter_context(meter)
            await arrivals.wait()


async def _ours_waiting(count: int, meter: Meter) -> None:
    app, arrivals = await _application(count, _wait, partitions=1)
    async with app.running():
        with meter:
            await arrivals.wait()


async def _application(count: int, work: Callable[[Order], Awaitable[None]], **options: int) -> tuple[App, Arrivals]:
    """One that has so many to handle, and when it has."""
    topic, arrivals = ours(**options), Arrivals(count)
    await fill(topic, count)
    app = application()

    @app.consume(topic, ordered=True, concurrency=CONCURRENCY)
    async def consume(order: Order) -> None:
        await work(order)
        arrivals.one()

    return app, arrivals


async def _by_hand(count: int, meter: Meter) -> None:
    topic = await made()
    await fill(topic, count)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker().address,
        group_id=GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        with meter:
            while count > 0:
                for records in (await consumer.getmany(timeout_ms=200, max_records=500)).values():
                    for record in records:
                        await handle(adapter.validate_json(record.value))
                    count -= len(records)
                await consumer.commit()
    finally:
        await consumer.stop()


async def _faststream(
    count: int,
    meter: Meter,
    work: Callable[[Order], Awaitable[None]] = handle,
    partitions: int | None = None,
    **options: Any,
) -> None:
    from faststream.kafka import KafkaBroker

    topic = await (made() if partitions is None else made(partitions))
    await fill(topic, count)
    peer, arrivals = KafkaBroker(broker().address, logger=None), Arrivals(count)

    async def consume(order: Order) -> None:
        await work(order)
        arrivals.one()

    consume.__annotations__["order"] = Order  # it reads annotations as they are, and here they are text
    peer.subscriber(topic, group_id=GROUP, auto_offset_reset="earliest", **options)(consume)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(peer.stop)
        with meter:
            await peer.start()
            await arrivals.wait()


async def _faststream_surely(count: int, meter: Meter) -> None:
    from faststream import AckPolicy

    await _faststream(count, meter, ack_policy=AckPolicy.ACK)


async def _faststream_waiting(count: int, meter: Meter) -> None:
    await _faststream(count, meter, _wait, partitions=1, max_workers=CONCURRENCY)
