"""From a delivery in memory to its outcome: one middleware that does nothing, JSON to a dataclass, an async handler.

No contender has a broker. Each is given prepared messages of its own kind and runs its own real path from there:

- ours: the real `Consumer` with a source that hands out prepared deliveries and takes settlements; a task a message.
- hand-written: a task a message, a semaphore of the same size, the same decoder, settled in bulk like ours.
- FastStream: `subscriber.consume(record)` of its Kafka subscriber with a prepared `ConsumerRecord`, one after another
  and without a task a message (the cheapest way it has), no logger, one middleware, no connection.
- AsyncFast: its application called with a prepared AMGI message scope, as an AMGI server does, one after another and
  without a task a message, one middleware, the acknowledgement event counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from benchmarks.harness import Meter, Row, Run, against, interleave
from benchmarks.payload import ORDERS, Order, adapter, body, handle
from waybill import App, Delivery, Handler, Message
from waybill.adapter import Capabilities, Limits
from waybill.clock import SystemClock
from waybill.consumer import Consumer
from waybill.instruments import Instrument
from waybill.outcomes import DONE, Ack, DeadLetter, Defer, Release, Settled, SettleResult

__all__ = ["JSON_HEADERS", "MESSAGES", "SHORT", "faststream", "measure", "ours", "records_of", "timed"]

MESSAGES = 5_000
"""Prepared at once. Many more would be measured out of cold memory, which no broker's deliveries are."""
REPEATS = 4
SHORT = 1_000
"""As many messages, once, where it is a small difference that is measured, in many rounds."""
PATIENCE = 60.0
"""Seconds after which a round has failed."""
CONCURRENCY = 32
GROUP = "bench"


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    bodies = [body(number) for number in range(run.messages(MESSAGES))]
    found = interleave(
        {
            "ours": lambda: timed(ours, bodies),
            "unsure": lambda: timed(_unsure, bodies),
            "hand-written": lambda: timed(_hand_written, bodies),
            "faststream": lambda: timed(faststream, bodies),
            "asyncfast": lambda: timed(_asyncfast, bodies),
        },
        run.rounds,
    )
    ours = found["ours"]
    unit = "us CPU/message"
    return [
        against("pipeline vs hand-written", unit, ours, found["hand-written"], at_most=1.5),
        against("pipeline vs FastStream consume", unit, ours, found["faststream"], at_most=0.3),
        against("pipeline vs AsyncFast", unit, ours, found["asyncfast"]),
        against("pipeline, acks not sure, vs hand-written", unit, found["unsure"], found["hand-written"]),
    ]


def timed(
    contender: Callable[[Sequence[bytes], Meter], Awaitable[None]], bodies: Sequence[bytes], repeats: int = REPEATS
) -> float:
    """Microseconds of processor time a message."""
    meter = Meter()
    for _ in range(repeats):
        asyncio.run(contender(bodies, meter))
    return meter.per_message(len(bodies) * repeats)


# --------------------------------------------------------------------------- ours


class Prepared:
    """Stands in for a broker: deliveries that exist already, and settlements that always succeed."""

    native_settlements = frozenset({Ack, Defer, Release, DeadLetter})

    def __init__(self, deliveries: list[Delivery[Any]], *, acks_surely: bool) -> None:
        self._deliveries = deliveries
        self._next = 0
        self._left = len(deliveries)
        self._quiet = asyncio.Event()
        self.settled = asyncio.Event()
        self.capabilities = self.claims = Capabilities(
            broker="prepared", ordered=True, durable=False, holds_key_from=0.0, acks_surely=acks_surely
        )

    @asynccontextmanager
    async def source(self, *_: object, **__: object) -> AsyncIterator[Prepared]:
        yield self

    @asynccontextmanager
    async def sink(self, *_: object) -> AsyncIterator[Any]:
        raise LookupError("nothing is published here")
        yield

    def limits(self, _: object) -> Limits:
        return Limits()

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        first, self._next = self._next, self._next + limit
        found = self._deliveries[first : self._next]
        if not found:
            await self._quiet.wait()
        return found

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        self._left -= len(settled)
        if self._left <= 0:
            self.settled.set()
        return [DONE] * len(settled)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[Any]:
        return [DONE for _ in deliveries]

    async def quiesce(self) -> None:
        self._quiet.set()


def transparent(following: Handler) -> Handler:
    """Our middleware that does nothing."""

    async def call(delivery: Delivery[Any]) -> None:
        await following(delivery)

    return call


async def ours(
    bodies: Sequence[bytes],
    meter: Meter,
    *,
    acks_surely: bool = True,
    instruments: Sequence[Instrument] = (),
    **options: Any,
) -> None:
    """Handle and settle them all with our `Consumer`, seen by these instruments. `options`: of `App.consume`."""
    app = App("bench", middleware=[transparent])
    consume: Any = app.consume
    consume(ORDERS, group=GROUP, concurrency=CONCURRENCY, **options)(handle)
    (registration,) = app.registrations
    now = datetime.now(UTC)
    lease_until = time.monotonic() + 3600.0
    prepared = Prepared(
        [
            Delivery(
                message=Message(
                    id=f"m-{number}",
                    body=data,
                    type=ORDERS.name,
                    source="bench",
                    time=now,
                    key=f"customer-{number % 1000:04d}",
                    content_type="application/json",
                ),
                topic=ORDERS.name,
                group=GROUP,
                lease_until=lease_until,
                token=number,
            )
            for number, data in enumerate(bodies)
        ],
        acks_surely=acks_surely,
    )
    adapter: Any = prepared  # as much of one as a consumer needs
    for instrument in reversed(instruments):
        adapter = instrument.around(adapter)
    around = [wrap for each in instruments if (wrap := each.middleware(registration.subscription)) is not None]
    consumer = Consumer(
        adapter,
        registration.subscription,
        registration.pipeline((*around, transparent)),
        registration.topic.decode,
        registration.options,
        clock=SystemClock(),
        observers=[each.handled for each in instruments if each.on_handled],
    )
    with meter:
        await consumer.start()
        await asyncio.wait_for(prepared.settled.wait(), PATIENCE)
    await consumer.stop(1.0)


async def _unsure(bodies: Sequence[bytes], meter: Meter) -> None:
    """With a broker like RabbitMQ or Kafka, where the core remembers what it acknowledged."""
    await ours(bodies, meter, acks_surely=False)


# --------------------------------------------------------------------------- hand-written


async def _hand_written(bodies: Sequence[bytes], meter: Meter) -> None:
    decode = adapter.validate_json
    slots = asyncio.Semaphore(CONCURRENCY)
    running: set[asyncio.Task[None]] = set()
    ended: list[int] = []
    settled = 0

    async def one(number: int, data: bytes) -> None:
        try:
            await handle(decode(data))
        finally:
            slots.release()
        ended.append(number)

    with meter:
        for number, data in enumerate(bodies):
            await slots.acquire()
            task = asyncio.create_task(one(number, data))
            running.add(task)
            task.add_done_callback(running.discard)
            if len(ended) >= CONCURRENCY:
                settled += len(ended)
                ended.clear()
        await asyncio.wait(running)
        settled += len(ended)
    if settled != len(bodies):
        raise RuntimeError(f"{settled} of {len(bodies)} settled")


# --------------------------------------------------------------------------- peers


JSON_HEADERS = (("content-type", b"application/json"),)


def records_of(bodies: Sequence[bytes], headers: Sequence[tuple[str, bytes]] = JSON_HEADERS) -> list[Any]:
    """Those that aiokafka hands out."""
    from aiokafka import ConsumerRecord

    return [
        ConsumerRecord(ORDERS.name, 0, number, 0, 0, None, data, None, 0, len(data), tuple(headers))
        for number, data in enumerate(bodies)
    ]


async def faststream(
    bodies: Sequence[bytes],
    meter: Meter,
    *,
    empty: bool = True,
    further: Sequence[Any] = (),
    headers: Sequence[tuple[str, bytes]] = JSON_HEADERS,
) -> None:
    """`empty`: whether a middleware that does nothing is around it. `further`: others of its own. `headers`: that records bring."""
    from faststream import BaseMiddleware
    from faststream._internal.endpoint.subscriber import SubscriberUsecase
    from faststream.kafka import KafkaBroker

    class Transparent(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            return await call_next(msg)

    handled = 0
    broker = KafkaBroker(logger=None, middlewares=[*further, *([Transparent] if empty else [])])
    subscriber = broker.subscriber(ORDERS.name)

    @subscriber
    async def consume(order: Order) -> None:
        nonlocal handled
        handled += 1

    broker._setup_logger()  # this and the next two lines: what `broker.start()` does, without connecting
    await SubscriberUsecase.start(subscriber)
    subscriber._post_start()
    records = records_of(bodies, headers)
    with meter:
        for record in records:
            await subscriber.consume(record)
    if handled != len(bodies):
        raise RuntimeError(f"FastStream handled {handled} of {len(bodies)}")


async def _asyncfast(bodies: Sequence[bytes], meter: Meter) -> None:
    from asyncfast import AsyncFast

    class Transparent:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    app = AsyncFast()
    app.add_middleware(Transparent)
    acknowledged = 0

    async def consume(order: Order) -> None:
        pass

    consume.__annotations__["order"] = Order  # it reads annotations as they are, and here they are text
    app.channel(ORDERS.name)(consume)

    async def receive() -> Any:
        raise LookupError("one message a call")

    async def send(event: Any) -> None:
        nonlocal acknowledged
        acknowledged += event["type"] == "message.ack"

    scopes: list[Any] = [
        {"type": "message", "amgi": {"version": "2.0"}, "address": ORDERS.name, "headers": [], "payload": data}
        for data in bodies
    ]
    with meter:
        for scope in scopes:
            await app(scope, receive, send)
    if acknowledged != len(bodies):
        raise RuntimeError(f"AsyncFast acknowledged {acknowledged} of {len(bodies)}")
