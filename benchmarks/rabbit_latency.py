"""From `publish` to the handler's start on RabbitMQ, at 500 messages a second, confirmed, in one process.

Ten pairs of rounds in turn, ours and aio-pika; each line is the median of what a pair's rounds are apart. The publisher keeps
to its schedule and waits for none of its messages.
"""

from __future__ import annotations

import asyncio
import functools

from benchmarks.brokers import arriving, in_pairs
from benchmarks.harness import Row, Run
from benchmarks.latency import Arrivals
from benchmarks.payload import ORDERS, Order, adapter
from benchmarks.rabbit import QUEUE, application, declare, vhost

__all__ = ["measure"]

RATE = 500


def measure(run: Run) -> list[Row]:
    """Milliseconds longer than aio-pika, beside what aio-pika takes."""
    with vhost() as url:
        asyncio.run(declare(url))
        contenders = functools.partial(_ours, url), functools.partial(_aio_pika, url)
        return in_pairs(run, "RabbitMQ", RATE, *contenders, whose="aio-pika")


async def _ours(url: str, count: int) -> list[float]:
    app, arrivals = application(url), Arrivals(count)
    app.consume(ORDERS, concurrency=64)(arrivals.handle)
    async with app.running():
        return await arriving(count, RATE, lambda order: app.publish(ORDERS, order), arrivals)


async def _aio_pika(url: str, count: int) -> list[float]:
    import aio_pika

    arrivals = Arrivals(count)

    async def consume(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        await arrivals.handle(adapter.validate_json(message.body))
        await message.ack()

    async with await aio_pika.connect(url) as connection:
        out = await connection.channel(publisher_confirms=True, on_return_raises=True)
        back = await connection.channel()
        await back.set_qos(prefetch_count=256)
        await (await back.get_queue(QUEUE)).consume(consume)

        async def publish(order: Order) -> None:
            body = adapter.dump_json(order)
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await out.default_exchange.publish(message, QUEUE, mandatory=True)

        return await arriving(count, RATE, publish, arrivals)
