"""What the cases on RabbitMQ share: a broker, a virtual host of their own, our application, and a channel driven by hand.

The broker is that of the tests (tests/brokers): the one that `TEST_AMQP` names, else a container, else a process
of this machine. All queues are quorum queues, all publishes persistent, confirmed and `mandatory`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from statistics import median
from typing import Any, TypeAlias

import aiormq

from benchmarks import brokers
from benchmarks.harness import Meter, Row, Run, against, alone, interleave
from benchmarks.payload import body
from tests.brokers.administration import Administration
from waybill import App, Settings

__all__ = [
    "IN_FLIGHT",
    "OURS",
    "QUEUE",
    "Contender",
    "application",
    "by_hand",
    "compared",
    "declare",
    "empty",
    "fill",
    "properties",
    "vhost",
]

GROUP = "bench"
OURS = f"bench.orders/{GROUP}"
"""The queue of `ORDERS` for its group."""
QUEUE = "bench.by-hand"
"""The queue of all others."""
IN_FLIGHT = 100
MESSAGES = 6_400
ABOVE = 20.0
"""Microseconds that ours may cost more than a channel driven by hand."""

Contender: TypeAlias = Callable[[str, int, Meter], Awaitable[None]]
"""Does so many messages at a URL, and measures what counts of it."""


def compared(
    run: Run,
    case: str,
    contenders: Mapping[str, Contender],
    once: Callable[[str, int, Contender, Meter], Awaitable[None]],
    *,
    at_most: float,
) -> list[Row]:
    """Microseconds of processor time a message: the first of the contenders beside aio-pika, aiormq by hand and FastStream.

    once: one round of one of them. at_most: the target beside aio-pika.
    """
    count = run.messages(MESSAGES)

    def timed(url: str, contender: Contender) -> float:
        meter = Meter()
        asyncio.run(once(url, count, contender, meter))
        return meter.per_message(count)

    with vhost() as url:
        asyncio.run(declare(url))
        rounds = {name: functools.partial(timed, url, contender) for name, contender in contenders.items()}
        (_, ours), aio_pika, aiormq_by_hand, faststream = interleave(rounds, run.rounds).items()
    unit = "us CPU/message"
    apart = [a - b for a, b in zip(ours, aiormq_by_hand[1], strict=True)]
    return [
        against(f"RabbitMQ {case} vs {aio_pika[0]}", unit, ours, aio_pika[1], at_most=at_most),
        against(f"RabbitMQ {case} vs {aiormq_by_hand[0]}", unit, ours, aiormq_by_hand[1]),
        alone(f"RabbitMQ {case}, more than aiormq by hand", unit, median(apart), at_most=ABOVE),
        against(f"RabbitMQ {case} vs {faststream[0]}", unit, ours, faststream[1]),
    ]


@contextmanager
def vhost() -> Iterator[str]:
    """The URL of a virtual host that goes with all that is in it."""
    with Administration(brokers.broker("rabbitmq")).vhost() as url:
        yield url


def application(url: str) -> App:
    """An application on that virtual host."""
    return App(GROUP, settings=Settings(url=url))


@asynccontextmanager
async def by_hand(url: str) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    """A channel of aiormq with confirms."""
    connection = await aiormq.connect(url)
    try:
        yield await connection.channel(publisher_confirms=True, on_return_raises=True)
    finally:
        await connection.close()


async def declare(url: str, name: str = QUEUE) -> None:
    """Make a quorum queue; publishing to the default exchange with its name reaches it."""
    async with by_hand(url) as channel:
        await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})


async def empty(url: str, name: str) -> int:
    """Throw away what waits there. Returns how many messages that were."""
    async with by_hand(url) as channel:
        return (await channel.queue_purge(name)).message_count or 0


def properties(number: int) -> Any:
    """Those that everyone's messages have."""
    return aiormq.spec.Basic.Properties(content_type="application/json", message_id=f"m-{number:08d}", delivery_mode=2)


async def fill(url: str, count: int, name: str = QUEUE) -> None:
    """Put so many orders into a queue."""
    async with by_hand(url) as channel:

        async def publisher(first: int) -> None:
            for number in range(first, count, IN_FLIGHT):
                await channel.basic_publish(
                    body(number), routing_key=name, properties=properties(number), mandatory=True, wait=False
                )

        await asyncio.gather(*(publisher(first) for first in range(IN_FLIGHT)))
