"""From `publish` to the handler's start on RabbitMQ, at 500 messages a second, confirmed, in one process.

Ten pairs of rounds in turn, ours and aio-pika; each line is the median of what a pair's rounds are apart. The publisher keeps
to its schedule and waits for none of its messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median

from benchmarks.harness import Row, Run, alone, interleave
from benchmarks.latency import Arrivals, paced, percentiles
from benchmarks.payload import ORDERS, Order, adapter
from benchmarks.rabbit import QUEUE, application, declare, vhost

__all__ = ["measure"]

RATE = 500
SECONDS = 4.0
PAIRS = 10
PATIENCE = 30.0
LIMITS = {"p50": 1.0, "p99": 5.0, "max": None}
"""Milliseconds that ours may take longer."""


def measure(run: Run) -> list[Row]:
    """Milliseconds longer than aio-pika, beside what aio-pika takes."""
    count, pairs = int(RATE * SECONDS), PAIRS if run.scale == 1 else 3
    with vhost() as url:
        asyncio.run(declare(url))
        found = interleave(
            {
                "ours": lambda: percentiles(asyncio.run(_ours(url, count))),
                "aio-pika": lambda: percentiles(asyncio.run(_aio_pika(url, count))),
            },
            pairs,
        )
    rows: list[Row] = []
    for name, limit in LIMITS.items():
        ours, raw = ([figures[name] for figures in found[whose]] for whose in ("ours", "aio-pika"))
        apart = median(a - b for a, b in zip(ours, raw, strict=True))
        rows += [
            alone(f"RabbitMQ latency {name} at {RATE}/s", "ms", median(ours), baseline=median(raw)),
            alone(f"RabbitMQ latency {name}, more than aio-pika", "ms", apart, at_most=limit),
        ]
    return rows


async def _publishing(count: int, publish: Callable[[Order], Awaitable[object]], arrivals: Arrivals) -> list[float]:
    async with asyncio.TaskGroup() as under_way:

        async def one(order: Order) -> None:
            await publish(order)

        def start(order: Order) -> None:
            under_way.create_task(one(order))

        await paced(count, start, RATE)
        await asyncio.wait_for(arrivals.complete.wait(), PATIENCE)
    return arrivals.seconds


async def _ours(url: str, count: int) -> list[float]:
    app, arrivals = application(url), Arrivals(count)
    app.consume(ORDERS, concurrency=64)(arrivals.handle)
    async with app.running():
        return await _publishing(count, lambda order: app.publish(ORDERS, order), arrivals)


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

        return await _publishing(count, publish, arrivals)
