"""Repid and Kombu on SQS: what a service author would write with them, 256-byte bodies to the same typed object.

- Repid: `send_message_json` with a hundred callers; an actor with the object's fields as parameters, a hundred at once.
- Kombu, which is synchronous: `Producer.publish` one after another; a consumer that decodes and acknowledges.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.harness import Meter
from benchmarks.payload import Order, adapter, handle, order
from benchmarks.sqs import CREDENTIALS, REGION, broker, by_hand, new, queue

__all__ = ["kombu_consume", "kombu_publish", "repid_consume", "repid_publish"]

CALLERS = 100


@asynccontextmanager
async def _repid() -> AsyncIterator[tuple[Any, str]]:
    """An application, connected, and a queue of its own."""
    from repid import Repid
    from repid.connections.sqs import SqsServer

    async with by_hand() as client:
        name = (await queue(client)).rpartition("/")[2]
    names = {name.lower(): value for name, value in CREDENTIALS.items()}
    server = SqsServer(broker().url, REGION, dlq_queue_strategy=None, receive_wait_time_seconds=1, **names)
    app = Repid()
    app.servers.register_server("sqs", server, is_default=True)
    async with server.connection():
        yield app, name


async def _sent(app: Any, name: str, count: int) -> None:
    async def caller(first: int) -> None:
        for number in range(first, count, CALLERS):
            await app.send_message_json(channel=name, payload=order(number))

    await asyncio.gather(*(caller(first) for first in range(CALLERS)))


async def repid_publish(count: int, meter: Meter) -> None:
    async with _repid() as (app, name):
        await _sent(app, name, 1)
        with meter:
            await _sent(app, name, count)


async def repid_consume(count: int, meter: Meter) -> None:
    from repid import Router

    async with _repid() as (app, name):
        await _sent(app, name, count)
        router = Router()

        @router.actor(channel=name, routing_strategy=lambda **_: lambda _: True)
        async def consume(  # noqa: PLR0917 - its parameters are the fields of the body
            order_id: str, customer_id: str, amount: float, quantity: int, express: bool, note: str
        ) -> None:
            await handle(Order(order_id, customer_id, amount, quantity, express, note))

        app.include_router(router)
        with meter:
            await app.run_worker(messages_limit=count, tasks_limit=CALLERS, register_signals=[])


def _kombu() -> tuple[Any, Any]:
    """A connection, and a queue of its own."""
    import kombu

    who = ":".join(CREDENTIALS.values())
    options = {"region": REGION, "is_secure": False, "wait_time_seconds": 1}
    connection = kombu.Connection(f"sqs://{who}@{urlsplit(broker().url).netloc}//", transport_options=options)
    return connection, kombu.Queue(new("kombu"))


def _published(connection: Any, place: Any, count: int) -> None:
    producer = connection.Producer(serializer="json")
    for number in range(count):
        producer.publish(adapter.dump_python(order(number)), routing_key=place.name)


async def kombu_publish(count: int, meter: Meter) -> None:
    connection, place = _kombu()
    with connection:
        place(connection).declare()
        with meter:
            _published(connection, place, count)


async def kombu_consume(count: int, meter: Meter) -> None:
    connection, place = _kombu()
    left = count

    def consume(body: Any, message: Any) -> None:
        nonlocal left
        adapter.validate_python(body)
        message.ack()
        left -= 1

    with connection:
        place(connection).declare()
        _published(connection, place, count)
        with meter, connection.Consumer(place, callbacks=[consume]):
            while left:
                connection.drain_events(timeout=30)
