"""What traces cost a message that is consumed, from a delivery in memory to its settlement: the pipeline of `pipeline.py`,
bare and with traces, and the difference of the two.

- ours: `Tracing` as an application has it, with the adapter wrapped: the span of the handler in the trace that the message
  brings, with the same six attributes and the link, and the settlement's span.
- as on Kafka: the same with the eleven attributes that there are of a record there.
- hand-written: one span of six attributes around the handler, as the SDK's documentation shows it, in no trace but its own.
- following: the same in the trace that the message brings, and linked to it, as the conventions want it.
- not sampled: the message's `traceparent` says that nobody keeps it.
- FastStream: its telemetry middleware, by `subscriber.consume` as in `pipeline.py`, less the same without it.
- contrib: what `opentelemetry-instrumentation-aiokafka` does with each record that it sees received, and that alone: its span ends
  before the handler begins. It wants another version of the conventions than ours, so it is measured where it is installed all the same.

All spans go to a processor that does nothing, so what exporters cost is no part of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from statistics import median
from typing import Any

from opentelemetry import propagate
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Link, SpanKind, get_current_span

from benchmarks import pipeline
from benchmarks.harness import Meter, Row, Run, added, alone, interleave
from benchmarks.payload import ORDERS, body, handle
from benchmarks.pipeline import CONCURRENCY, GROUP, JSON_HEADERS, PATIENCE, SHORT, Prepared, records_of
from waybill import App, Delivery, Handler, Message
from waybill.clock import SystemClock
from waybill.consumer import Consumer
from waybill.instruments import Instrument
from waybill.telemetry.tracing import Tracing

__all__ = ["measure"]

CONTRIB = find_spec("opentelemetry.instrumentation") is not None
ROUNDS = 10
"""So many times the usual number, of short ones."""
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
SAMPLED = (*JSON_HEADERS, ("traceparent", (TRACE + "01").encode()))
"""Of records that bring a trace that is kept."""
SIX = {
    "messaging.system": "prepared",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": ORDERS.name,
    "messaging.consumer.group.name": GROUP,
}


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    number = run.messages(SHORT)
    contenders: dict[str, Callable[[], float]] = {
        "bare": lambda: timed(lambda m: ours(number, m, Instrument(), "01")),
        "traced": lambda: timed(lambda m: ours(number, m, Tracing(provider()), "01")),
        "as on Kafka": lambda: timed(lambda m: ours(number, m, Tracing(provider()), "01", kind=LikeKafka)),
        "hand-written": lambda: timed(lambda m: ours(number, m, HandWritten(), "01")),
        "following": lambda: timed(lambda m: ours(number, m, Following(), "01")),
        "not sampled": lambda: timed(lambda m: ours(number, m, Tracing(provider()), "00")),
        "FastStream bare": lambda: timed(lambda m: faststream(number, m, traced=False)),
        "FastStream": lambda: timed(lambda m: faststream(number, m, traced=True)),
    }
    if CONTRIB:
        contenders["contrib"] = lambda: timed(lambda m: contrib(number, m))
    found = {
        name: [took / number * 1e6 for took in each]
        for name, each in interleave(contenders, run.rounds * ROUNDS).items()
    }
    bare = found["bare"]
    by_hand = added(found["hand-written"], bare)
    traced = added(found["traced"], bare)
    unit = "us CPU/message"
    rows = [
        alone("hand-written span of 6 attributes", unit, by_hand),
        alone("tracing, sampled", unit, traced, baseline=by_hand, at_most=1.4 * by_hand),
        alone(
            "tracing, sampled, vs by hand in the message's trace",
            unit,
            traced,
            baseline=added(found["following"], bare),
        ),
        alone("tracing, sampled, as on Kafka", unit, added(found["as on Kafka"], bare), baseline=by_hand),
        alone("tracing, not sampled", unit, added(found["not sampled"], bare), at_most=3.0),
        alone(
            "tracing vs FastStream's telemetry",
            unit,
            traced,
            baseline=added(found["FastStream"], found["FastStream bare"]),
        ),
    ]
    if CONTRIB:
        rows.append(alone("tracing vs contrib's span of a receive", unit, traced, baseline=median(found["contrib"])))
    return rows


def timed(contender: Callable[[Meter], Awaitable[None]]) -> float:
    meter = Meter()
    asyncio.run(contender(meter))
    return meter.cpu


class Nothing(SpanProcessor):
    """Takes spans and does nothing with them."""


def provider() -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(Nothing())
    return made


class HandWritten(Instrument):
    """One span around the handler."""

    def middleware(self, subscription: Any) -> Any:
        tracer = provider().get_tracer("bench")

        def around(following: Handler) -> Handler:
            async def call(delivery: Delivery[Any]) -> None:
                attributes = {**SIX, "messaging.message.id": delivery.message.id}
                with tracer.start_as_current_span("process orders", kind=SpanKind.CONSUMER, attributes=attributes):
                    await following(delivery)

            return call

        return around


class Following(Instrument):
    """One span around the handler, in the trace that the message brings."""

    def middleware(self, subscription: Any) -> Any:
        tracer = provider().get_tracer("bench")

        def around(following: Handler) -> Handler:
            async def call(delivery: Delivery[Any]) -> None:
                message = delivery.message
                attributes = {**SIX, "messaging.message.id": message.id}
                brought = propagate.extract({"traceparent": message.traceparent or ""})
                links = [Link(get_current_span(brought).get_span_context())]
                with tracer.start_as_current_span(
                    "process orders", brought, kind=SpanKind.CONSUMER, attributes=attributes, links=links
                ):
                    await following(delivery)

            return call

        return around


async def ours(number: int, meter: Meter, instrument: Instrument, flags: str, kind: type[Prepared] = Prepared) -> None:
    app = App("bench")
    app.consume(ORDERS, group=GROUP, concurrency=CONCURRENCY)(handle)
    (registration,) = app.registrations
    subscription = registration.subscription
    prepared = kind(deliveries(number, flags), acks_surely=True)
    adapter: Any = instrument.around(prepared)  # type: ignore[arg-type]
    middleware = instrument.middleware(subscription)
    consumer = Consumer(
        adapter,
        subscription,
        registration.pipeline(() if middleware is None else (middleware,)),
        registration.topic.decode,
        registration.options,
        clock=SystemClock(),
    )
    with meter:
        await consumer.start()
        await asyncio.wait_for(prepared.settled.wait(), PATIENCE)
    await consumer.stop(1.0)


class LikeKafka(Prepared):
    """Says of its messages what Kafka does."""

    def place_attributes(self, place: Any) -> dict[str, Any]:
        return {**SIX, "server.address": "localhost", "server.port": 9092}

    def message_attributes(self, place: Any, message: Any) -> dict[str, Any]:
        return {}

    def delivery_attributes(self, delivery: Delivery[Any]) -> dict[str, Any]:
        return {"messaging.destination.partition.id": "3", "messaging.kafka.offset": delivery.token}

    def position_attributes(self, position: str) -> dict[str, Any]:
        return {}


def deliveries(number: int, flags: str) -> list[Delivery[Any]]:
    now, lease_until = datetime.now(UTC), time.monotonic() + 3600.0
    return [
        Delivery(
            message=Message(
                id=f"m-{each}",
                body=body(each),
                type=ORDERS.name,
                source="bench",
                time=now,
                key=f"customer-{each % 1000:04d}",
                content_type="application/json",
                traceparent=TRACE + flags,
            ),
            topic=ORDERS.name,
            group=GROUP,
            lease_until=lease_until,
            token=each,
        )
        for each in range(number)
    ]


async def contrib(number: int, meter: Meter) -> None:
    from opentelemetry.instrumentation.aiokafka.utils import _aiokafka_getter, _create_consumer_span

    tracer, records = provider().get_tracer("bench"), records_of([body(each) for each in range(number)], SAMPLED)
    with meter:
        for record in records:
            parent = propagate.extract(record.headers, getter=_aiokafka_getter)
            await _create_consumer_span(tracer, None, record, parent, "localhost:9092", "bench", GROUP, (), {})


async def faststream(number: int, meter: Meter, *, traced: bool) -> None:
    further: list[Any] = []
    if traced:
        from faststream.kafka.opentelemetry import KafkaTelemetryMiddleware

        further.append(KafkaTelemetryMiddleware(tracer_provider=provider()))
    bodies = [body(each) for each in range(number)]
    await pipeline.faststream(bodies, meter, empty=False, further=further, headers=SAMPLED)
