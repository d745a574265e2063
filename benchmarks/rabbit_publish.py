"""Publishing to RabbitMQ, confirmed, with 100 callers at once, each waiting for its own message; 256-byte bodies.

- ours: `app.publish` with a key, and all that its envelope says.
- aio-pika: `exchange.publish` of a persistent message with a content type and an id, on one channel.
- aiormq by hand: `basic_publish` without waiting for the socket, the confirm awaited; the same properties.
- FastStream: `broker.publish` of the object, persistent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.harness import Meter, Row, Run
from benchmarks.payload import ORDERS, adapter, order
from benchmarks.rabbit import IN_FLIGHT, OURS, QUEUE, Contender, application, by_hand, compared, empty, properties

__all__ = ["measure"]


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    contenders = {"ours": _ours, "aio-pika": _aio_pika, "aiormq by hand": _aiormq, "FastStream": _faststream}
    return compared(run, "publish", contenders, _once, at_most=0.75)


async def _once(url: str, count: int, contender: Contender, meter: Meter) -> None:
    await contender(url, count, meter)
    queue = OURS if contender is _ours else QUEUE
    if (stored := await empty(url, queue)) != count + 1:
        raise RuntimeError(f"{stored} of {count + 1} are in {queue}")


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
