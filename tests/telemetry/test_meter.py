"""The same metrics through OpenTelemetry, and their names against its published constants."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv._incubating.metrics import messaging_metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes

from waybill import App, Retry, Settings, Topic
from waybill.telemetry import catalogue
from waybill.telemetry.catalogue import APPLICATION, BUCKETS, CONVENTIONS, EXPORTER
from waybill.telemetry.meter import measured
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.tally import Reading, total

numbers = Topic("numbers", int)

ADVISED = {  # of the conventions' model, v1.44.0: kind and unit of each metric of `messaging`
    messaging_metrics.MESSAGING_CLIENT_SENT_MESSAGES: ("counter", "{message}"),
    messaging_metrics.MESSAGING_CLIENT_CONSUMED_MESSAGES: ("counter", "{message}"),
    messaging_metrics.MESSAGING_CLIENT_OPERATION_DURATION: ("histogram", "s"),
    messaging_metrics.MESSAGING_PROCESS_DURATION: ("histogram", "s"),
}


def test_names_kinds_units_and_buckets_are_those_of_the_conventions() -> None:
    ours = {metric.name: metric for metric in APPLICATION if metric.name.startswith("messaging.")}
    assert {name: (metric.kind, metric.unit) for name, metric in ours.items()} == ADVISED
    for metric in ours.values():
        assert metric.bounds == (BUCKETS if metric.kind == "histogram" else ())
        assert metric.labels == CONVENTIONS
    assert BUCKETS == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


def test_attributes_are_those_of_the_conventions_and_ours_have_none_of_them() -> None:
    known = {
        value
        for module in (messaging_attributes, error_attributes, server_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    assert set(CONVENTIONS) <= known
    for metric in (*APPLICATION, *EXPORTER):
        if metric.name.startswith("waybill."):
            assert not {label for label in metric.labels if "." in label}


async def test_a_meter_has_what_is_counted() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics = Metrics(meter=provider.get_meter("waybill"))
    app = App("odd", settings=Settings(url="memory://"), instruments=[metrics])

    @app.consume(numbers, retry=Retry.none())
    async def handle(number: int) -> None:
        if number == 3:
            raise LookupError(number)

    async with app.running():
        await app.publish_many(numbers, range(10))
        async with asyncio.timeout(10):
            while total(metrics.collect(), "waybill.settled.messages") < 10:
                await asyncio.sleep(0.005)
        found = _found(reader)
    provider.shutdown()
    settled = {point.attributes["outcome"]: point.value for point in found["waybill.settled.messages"].data.data_points}
    assert settled == {"acked": 9, "dead_lettered": 1, "retried": 0, "released": 0, "lost": 0}
    assert found["waybill.settled.messages"].unit == "{message}"
    process = {
        point.attributes.get("error.type"): point for point in found["messaging.process.duration"].data.data_points
    }
    assert {error: point.count for error, point in process.items()} == {None: 9, "LookupError": 1}
    assert process[None].explicit_bounds == BUCKETS
    assert process[None].attributes["messaging.destination.name"] == "numbers"
    assert process[None].attributes["messaging.operation.name"] == "process"
    (sent,) = (point for point in found["messaging.client.sent.messages"].data.data_points)
    assert (sent.value, sent.attributes["messaging.operation.type"]) == (10, "send")
    assert {point.value for point in found["waybill.consumer.up"].data.data_points} == {1}


def test_a_reader_asks_once_for_all_and_gets_what_is_counted_then() -> None:
    reader, rounds = InMemoryMetricReader(), list[int]()

    def collect() -> Iterator[Reading]:
        rounds.append(1)
        yield Reading(catalogue.DELIVERED, [(("numbers", "odd"), len(rounds))])
        yield Reading(catalogue.HELD, [(("numbers", "odd"), len(rounds))])

    provider = MeterProvider([reader])
    measured(provider.get_meter("waybill"), collect)
    for number in (1, 2):
        found = _found(reader)
        for metric in (catalogue.DELIVERED, catalogue.HELD):
            assert [point.value for point in found[metric.name].data.data_points] == [number]
        assert len(rounds) == number
    provider.shutdown()


class Broken(NoOpMeter):
    """Takes no value."""

    def create_histogram(self, *args: Any, **options: Any) -> Any:
        del args, options
        return self

    def record(self, *_: Any) -> None:
        raise RuntimeError("no value is taken")


async def test_a_meter_that_fails_decides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(meter=Broken("broken"))
    app = App("odd", settings=Settings(url="memory://"), instruments=[metrics])

    @app.consume(numbers, retry=Retry.none())
    async def handle(_: int) -> None: ...

    async with app.running():
        for number in range(2):
            await app.publish(numbers, number)
        async with asyncio.timeout(10):
            while total(metrics.collect(), "waybill.settled.messages", outcome="acked") < 2:
                await asyncio.sleep(0.005)
    assert total(metrics.collect(), "messaging.process.duration", error_type="") == 2
    assert {record.name for record in caplog.records if record.levelno >= logging.WARNING} == {"waybill.telemetry"}


def _found(reader: InMemoryMetricReader) -> dict[str, Any]:
    data: Any = reader.get_metrics_data()
    return {
        metric.name: metric
        for each in data.resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
    }
