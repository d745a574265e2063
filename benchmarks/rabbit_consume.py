"""Consuming a filled queue of RabbitMQ: take, decode to a typed object, handle, acknowledge; 200 held at once.

- ours: the application itself from the moment it runs, window 200, to the end of its orderly shutdown.
- aio-pika: `queue.consume`, prefetch 200, the same decoder, `ack()` of each message.
- aiormq by hand: `basic_consume`, prefetch 200, the same decoder, one acknowledgement for 50.
- FastStream: a subscriber whose parameter is the object, prefetch 200, no logger.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

from benchmarks.harness import Meter, Row, Run
from benchmarks.payload import ORDERS, Order, adapter, handle, order
from benchmarks.rabbit import QUEUE, Contender, application, by_hand, compared, fill
from waybill import Confirmed

__all__ = ["measure"]

WINDOW = 200
CONCURRENCY = 50
BULK = 50
PATIENCE = 120.0
"""Seconds after which a round has failed."""


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    contenders = {
        "ours": _ours,
        "aio-pika, ack each": _aio_pika,
        "aiormq by hand, bulk acks": _aiormq,
        "FastStream": _faststream,
    }
    return compared(run, "consume", contenders, _once, at_most=0.6)


async def _once(url: str, count: int, contender: Contender, meter: Meter) -> None:
    await (_publish(url, count) if contender is _ours else fill(url, count))
    await contender(url, count, meter)


async def _publish(url: str, count: int) -> None:
    """Publish so many orders, and see all of them confirmed."""
    app = application(url)
    async with app.running(consume=False):
        results = await app.publish_many(ORDERS, [order(number) for number in range(count)])
    if not all(isinstance(result, Confirmed) for result in results):
        raise RuntimeError("what was to be consumed could not be published")


class Arrivals:
    """Counts what is handled, and knows when all of it is."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.complete = asyncio.Event()

    def one(self) -> None:
        self._left -= 1
        if not self._left:
            self.complete.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self.complete.wait(), PATIENCE)


async def _ours(url: str, count: int, meter: Meter) -> None:
    app, arrivals = application(url), Arrivals(count)

    @app.consume(ORDERS, concurrency=CONCURRENCY, window=WINDOW)
    async def consume(order: Order) -> None:
        await handle(order)
        arrivals.one()

    with ExitStack() as measured:
        async with app.running():
            measured.enter_context(meter)
            await arrivals.wait()


async def _aio_pika(url: str, count: int, meter: Meter) -> None:
    import aio_pika

    arrivals = Arrivals(count)

    async def consume(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        await handle(adapter.validate_json(message.body))
        await message.ack()
        arrivals.one()

    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=WINDOW)
        queue = await channel.get_queue(QUEUE)
        with meter:
            await queue.consume(consume)
            await arrivals.wait()


async def _aiormq(url: str, count: int, meter: Meter) -> None:
    arrivals = Arrivals(count)
    async with by_hand(url) as channel:
        unsettled = 0

        async def consume(message: Any) -> None:
            nonlocal unsettled
            await handle(adapter.validate_json(message.body))
            unsettled += 1
            if unsettled == BULK:
                unsettled = 0
                await channel.basic_ack(message.delivery.delivery_tag, multiple=True, wait=False)
            arrivals.one()

        await channel.basic_qos(prefetch_count=WINDOW)
        with meter:
            await channel.basic_consume(QUEUE, consume)
            await arrivals.wait()
        await channel.basic_ack(0, multiple=True)


async def _faststream(url: str, count: int, meter: Meter) -> None:
    from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

    arrivals = Arrivals(count)
    broker = RabbitBroker(url, logger=None, default_channel=Channel(prefetch_count=WINDOW))

    async def consume(order: Order) -> None:
        await handle(order)
        arrivals.one()

    consume.__annotations__["order"] = Order  # it reads annotations as they are, and here they are text
    broker.subscriber(RabbitQueue(QUEUE, queue_type=QueueType.QUORUM, durable=True))(consume)
    with meter:
        await broker.start()
        await arrivals.wait()
    await broker.stop()
