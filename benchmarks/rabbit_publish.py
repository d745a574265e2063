"""Publishing to RabbitMQ, confirmed, with 100 callers at once, each waiting for its own message; 256-byte bodies.

- ours: `app.publish` with a key, and all that its envelope says.
- aio-pika: `exchange.publish` of a persistent message with a content type and an id, on one channel.
- aiormq by hand: `basic_publish` without waiting for the socket, the confirm awaited; the same properties.
- FastStream: `broker.publish` of the object, persistent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.harness import Meter, Row, Run, against, alone, interleave
from benchmarks.payload import ORDERS, adapter, order
from benchmarks.rabbit import IN_FLIGHT, OURS, QUEUE, application, by_hand, declare, empty, properties, vhost

__all__ = ["measure"]

MESSAGES = 6_400
ABOVE = 20.0
"""Microseconds that ours may cost more than a channel driven by hand."""


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    count = run.messages(MESSAGES)
    with vhost() as url:
        asyncio.run(declare(url))
        found = interleave(
            {
                "ours": lambda: _timed(url, OURS, _ours, count),
                "aio-pika": lambda: _timed(url, QUEUE, _aio_pika, count),
                "aiormq": lambda: _timed(url, QUEUE, _aiormq, count),
                "faststream": lambda: _timed(url, QUEUE, _faststream, count),
            },
            run.rounds,
        )
    unit = "us CPU/message"
    ours, by_hand = found["ours"], found["aiormq"]
    apart = [a - b for a, b in zip(ours, by_hand, strict=True)]
    return [
        against("RabbitMQ publish vs aio-pika", unit, ours, found["aio-pika"], at_most=0.75),
        against("RabbitMQ publish vs aiormq by hand", unit, ours, by_hand),
        alone("RabbitMQ publish, more than aiormq by hand", unit, sorted(apart)[len(apart) // 2], at_most=ABOVE),
        against("RabbitMQ publish vs FastStream", unit, ours, found["faststream"]),
    ]


def _timed(url: str, queue: str, contender: Callable[[str, int, Meter], Awaitable[None]], count: int) -> float:
    meter = Meter()

    async def main() -> None:
        await contender(url, count, meter)
        if (stored := await empty(url, queue)) != count + 1:
            raise RuntimeError(f"{stored} of {count + 1} are in {queue}")

    asyncio.run(main())
    return meter.per_message(count)


async def _callers(count: int, meter: Meter, publish: Callable[[int], Awaitable[object]]) -> None:
    async def caller(first: int) -> None:
        for number in range(first, count, IN_FLIGHT):
            await publish(number)

    await publish(0)  # opens what is opened once
    with meter:
        await asyncio.gather(*(caller(first) for first in range(IN_FLIGHT)))


async def _ours(url: str, count: int, meter: Meter) -> None:
    app = application(url)
    async with app.running(consume=False):
        await _callers(count, meter, lambda number: app.publish(ORDERS, order(number)))


async def _aio_pika(url: str, count: int, meter: Meter) -> None:
    import aio_pika

    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)

        async def publish(number: int) -> None:
            message = aio_pika.Message(
                adapter.dump_json(order(number)),
                content_type="application/json",
                message_id=f"m-{number:08d}",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await channel.default_exchange.publish(message, QUEUE, mandatory=True)

        await _callers(count, meter, publish)


async def _aiormq(url: str, count: int, meter: Meter) -> None:
    async with by_hand(url) as channel:

        async def publish(number: int) -> None:
            await channel.basic_publish(
                adapter.dump_json(order(number)),
                routing_key=QUEUE,
                properties=properties(number),
                mandatory=True,
                wait=False,
            )

        await _callers(count, meter, publish)


async def _faststream(url: str, count: int, meter: Meter) -> None:
    from faststream.rabbit import RabbitBroker

    async with RabbitBroker(url, logger=None) as broker:
        await _callers(count, meter, lambda number: broker.publish(order(number), QUEUE, persist=True, mandatory=True))
