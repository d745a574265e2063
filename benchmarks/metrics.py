"""What metrics add to a message: from a delivery in memory to its outcome, with and without them.

All contenders are our own pipeline of benchmarks/pipeline.py; what differs is who counts.

- ours: `Metrics()`: delivered, redelivered, settled by outcome, age, how long it was handled and how long it took in all.
- ours, with a meter: the same into an OpenTelemetry meter as well.
- by hand: a middleware with prometheus_client's own `Counter.inc` and `Histogram.observe`, of two metrics, as services have it.
- FastStream: its Prometheus middleware, added to a message that it consumes as in benchmarks/pipeline.py.
- by hand, OpenTelemetry: the same with its `Counter.add` and `Histogram.record`, of four attributes each.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.harness import Meter, Row, Run, added, alone, interleave
from benchmarks.payload import body
from benchmarks.pipeline import SHORT, faststream, ours, timed
from waybill import Delivery, Handler, Middleware
from waybill.instruments import Instrument
from waybill.telemetry.catalogue import BUCKETS
from waybill.telemetry.metrics import Metrics
from waybill.topology import Subscription

__all__ = ["measure"]

ROUNDS = 15
"""So many times the usual number, of short ones."""


class By(Instrument):
    """A middleware of a service's own."""

    def __init__(self, middleware: Middleware) -> None:
        self._middleware = middleware

    def middleware(self, subscription: Subscription) -> Middleware:
        del subscription
        return self._middleware


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time that each adds to a message."""
    bodies = [body(number) for number in range(run.messages(SHORT))]
    made: dict[str, Callable[[], Sequence[Instrument]]] = {
        "none": lambda: (),
        "ours": lambda: (Metrics(),),
        "ours, with a meter": lambda: (Metrics(meter=_meter()),),
        "by hand": lambda: (By(_prometheus()),),
        "by hand, OpenTelemetry": lambda: (By(_opentelemetry()),),
    }
    contenders = {name: partial(timed, _with(make), bodies, 1) for name, make in made.items()}
    contenders["FastStream bare"] = lambda: timed(partial(faststream, empty=False), bodies, 1)
    contenders["FastStream"] = lambda: timed(partial(faststream, empty=False, further=[_fast_metrics()]), bodies, 1)
    found = interleave(contenders, run.rounds * ROUNDS)
    bare = {"FastStream": found.pop("FastStream bare")}
    none = found.pop("none")
    cost = {name: added(each, bare.get(name, none)) for name, each in found.items()}
    unit = "us CPU added/message"
    return [
        alone("metrics, beside prometheus_client's by hand", unit, cost["ours"], baseline=cost["by hand"], at_most=3.0),
        alone("metrics, beside FastStream's Prometheus middleware", unit, cost["ours"], baseline=cost["FastStream"]),
        alone(
            "metrics with a meter, beside OpenTelemetry's by hand",
            unit,
            cost["ours, with a meter"],
            baseline=cost["by hand, OpenTelemetry"],
        ),
    ]


def _with(make: Callable[[], Sequence[Instrument]]) -> Callable[[Sequence[bytes], Meter], Awaitable[None]]:
    return lambda bodies, meter: ours(bodies, meter, instruments=make())


def _meter() -> Any:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    return MeterProvider([InMemoryMetricReader()]).get_meter("bench")


def _fast_metrics() -> Any:
    from faststream.kafka.prometheus import KafkaPrometheusMiddleware
    from prometheus_client import CollectorRegistry

    return KafkaPrometheusMiddleware(registry=CollectorRegistry())


def _prometheus() -> Middleware:
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry, labels = CollectorRegistry(), ("destination", "group")
    handled = Counter("handled", "Handled.", labels, registry=registry).labels("orders", "bench")
    took = Histogram("took", "Seconds.", labels, registry=registry, buckets=BUCKETS).labels("orders", "bench")
    return _counting(handled.inc, took.observe)


def _opentelemetry() -> Middleware:
    meter = _meter()
    attributes = {
        "messaging.system": "bench",
        "messaging.operation.name": "process",
        "messaging.destination.name": "orders",
        "messaging.consumer.group.name": "bench",
    }
    handled = meter.create_counter("messaging.client.consumed.messages")
    took = meter.create_histogram("messaging.process.duration", explicit_bucket_boundaries_advisory=BUCKETS)
    return _counting(lambda: handled.add(1, attributes), lambda seconds: took.record(seconds, attributes))


def _counting(count: Callable[[], None], record: Callable[[float], None]) -> Middleware:
    def around(following: Handler) -> Handler:
        async def call(delivery: Delivery[Any]) -> None:
            began = time.perf_counter()
            try:
                await following(delivery)
            finally:
                record(time.perf_counter() - began)
                count()

        return call

    return around
