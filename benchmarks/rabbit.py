"""What the cases on RabbitMQ share: a broker, a virtual host of their own, our application, and a channel driven by hand.

The broker is that of the tests (tests/brokers): the one that `TEST_AMQP` names, else a container, else a process
of this machine. All queues are quorum queues, all publishes persistent, confirmed and `mandatory`.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiormq

from benchmarks.payload import body
from tests.brokers.administration import Administration
from tests.brokers.running import Running
from tests.brokers.session import Session
from waybill import App, Settings

__all__ = ["GROUP", "IN_FLIGHT", "OURS", "QUEUE", "application", "by_hand", "declare", "empty", "fill", "vhost"]

GROUP = "bench"
OURS = f"bench.orders/{GROUP}"
"""The queue of `ORDERS` for its group."""
QUEUE = "bench.by-hand"
"""The queue of all others."""
IN_FLIGHT = 100


@functools.cache
def _broker() -> Running:
    session = Session(f"bench-{os.getpid()}", lambda text: print(text, file=sys.stderr))
    atexit.register(session.close)
    found = session.start(["rabbitmq"])["rabbitmq"]
    if not isinstance(found, Running):
        sys.exit(f"there is no RabbitMQ to measure: {found}")
    return found


@contextmanager
def vhost() -> Iterator[str]:
    """The URL of a virtual host that goes with all that is in it."""
    with Administration(_broker()).vhost() as url:
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
