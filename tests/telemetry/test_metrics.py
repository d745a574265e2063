"""What an application counts, as somebody reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from inspect import getattr_static
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry.spans import Spans
from waybill import (
    App,
    Batch,
    BrokerUnavailable,
    CircuitBreaker,
    Confirmed,
    ItemsFailed,
    Message,
    PublishRefused,
    Refused,
    Reject,
    Retry,
    Settings,
    Topic,
    TopicPattern,
    Unknown,
)
from waybill.adapter import Describes, Explains, MovesLetters, Varies
from waybill.calling import Called, CountsCalls
from waybill.clock import SystemClock
from waybill.history import KeepsHistory
from waybill.loading import AdapterContext, open_adapter
from waybill.outcomes import SendResult
from waybill.telemetry.catalogue import OUTCOMES, REASONS
from waybill.telemetry.counting import CountedSink, Sending, Tallies
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.tally import OTHER, Count, Metric, Series, total
from waybill.telemetry.tracing import Tracing

numbers = Topic("numbers", int, groups=["odd", "even"])
results = Topic("results", int)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return total(metrics.collect(), name, **labels)


def app_with(metrics: Metrics, **options: Any) -> App:
    return App("odd", settings=Settings(url="memory://"), instruments=[metrics], **options)


async def test_all_that_is_declared_stands_at_zero_before_anything_happens() -> None:
    """Or the first dead letter would be missed: the increase of a counter that is born at 1 is 0."""
    metrics = Metrics()
    app = app_with(metrics, topics=[results])

    @app.consume(numbers)
    async def handle(_: int) -> None: ...

    async with app.running():
        told = {reading.metric.name: dict(reading.values) for reading in metrics.collect()}
    for outcome in OUTCOMES:
        assert told["waybill.settled.messages"]["numbers", "odd", outcome] == 0
    for reason in REASONS:
        assert told["waybill.dead.lettered.messages"]["numbers", "odd", reason] == 0
    for topic in ("numbers", "results"):
        assert told["waybill.published.messages"][topic, "confirmed"] == 0
        assert told["waybill.published.messages"][topic, "refused"] == 0
    assert told["waybill.delivered.messages"]["numbers", "odd"] == 0
    assert told["waybill.redelivered.messages"]["numbers", "odd"] == 0


async def test_what_fails_is_told_by_its_class_and_what_runs_too_long_as_that() -> None:
    metrics = Metrics()
    app = app_with(metrics)

    @app.consume(numbers, retry=Retry.none(), timeout=0.05)
    async def handle(number: int) -> None:
        if number == 1:
            raise LookupError(number)
        if number == 2:
            raise Reject("no")
        if number == 3:
            await asyncio.sleep(60)

    async with app.running():
        await app.publish_many(numbers, range(4))
        await until(lambda: counted(metrics, "waybill.settled.messages") == 4)
    for error in ("LookupError", "waybill.errors.Reject", "waybill.errors.HandlerTimeout", ""):
        assert counted(metrics, "messaging.process.duration", error_type=error) == 1, error
    assert counted(metrics, "waybill.dead.lettered.messages", reason="rejected") == 1
    assert counted(metrics, "waybill.settled.messages", outcome="acked") == 1
    assert counted(metrics, "waybill.end.to.end") == 1


async def test_a_batch_is_one_handling_and_its_messages_are_counted_each() -> None:
    metrics = Metrics()
    app = app_with(metrics)

    @app.consume(numbers, batch=Batch(10, wait=0.01), retry=Retry.none())
    async def handle(all_of: list[int]) -> None:
        if failed := {place: ValueError() for place, number in enumerate(all_of) if number == 3}:
            raise ItemsFailed(failed)

    async with app.running():
        await app.publish_many(numbers, range(10))
        await until(lambda: counted(metrics, "waybill.settled.messages") == 10)
    assert counted(metrics, "waybill.settled.messages", outcome="acked") == 9
    assert counted(metrics, "waybill.dead.lettered.messages") == 1
    assert 1 <= counted(metrics, "messaging.process.duration") < 10
    assert counted(metrics, "messaging.process.duration", error_type="waybill.errors.ItemsFailed") == 1


async def test_no_name_that_somebody_else_chooses_becomes_a_label() -> None:
    metrics = Metrics()
    app = app_with(metrics)

    @app.consume(TopicPattern("any.*", int), group="all")
    async def handle(_: int) -> None: ...

    @app.consume(results, ephemeral=True)
    async def follow(_: int) -> None: ...

    async with app.running():
        for number in range(5):
            await app.publish(Topic(f"any.{number}", int), number)
        await until(lambda: counted(metrics, "waybill.settled.messages") == 5)
        told = list(metrics.collect())
    assert total(told, "waybill.settled.messages", destination="any.*", group="all") == 5
    consumers = next(dict(reading.values) for reading in told if reading.metric.name == "waybill.consumer.up")
    assert consumers == {("any.*", "all"): 1.0, ("results", "odd"): 1.0}
    groups = {
        value
        for reading in told
        for labels, _ in reading.values
        for name, value in zip(reading.metric.labels, labels, strict=True)
        if "group" in name
    }
    assert groups == {"", "all", "odd"}
    assert total(told, "messaging.process.duration", messaging_destination_template="any.*") == 5


def test_beyond_a_bound_all_others_are_one() -> None:
    metric = Metric(name="handled", kind="counter", unit="1", about="", labels=("topic", "group"))
    series = Series(metric, lambda _: Count(), most=3)
    for number in range(100):
        series.of(f"topic-{number}", "one").value += 1
    assert [labels for labels, _ in series.items()] == [
        ("topic-0", "one"),
        ("topic-1", "one"),
        ("topic-2", "one"),
        (OTHER, OTHER),
    ]
    assert sum(count.value for _, count in series.items()) == 100


class Answering:
    """A sink that answers as it is told."""

    def __init__(self, *answers: SendResult | Exception) -> None:
        self._answers = list(answers)

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        del deadline
        found = [self._answers.pop(0) for _ in messages]
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        return [answer for answer in found if not isinstance(answer, Exception)]


async def test_what_was_not_confirmed_is_counted_as_what_it_was() -> None:
    tallies = Tallies()
    answers = [
        Confirmed("1"),
        Refused("full"),
        Unknown("cut"),
        Confirmed("2"),
        Confirmed("3"),
        BrokerUnavailable("away"),
    ]
    sink = CountedSink(Answering(*answers), Sending(tallies, ("sys", "numbers", "", "", "", ""), "numbers"))
    message: Any = None
    await sink.send([message] * 3, deadline=0)
    await sink.send([message] * 2, deadline=0)
    with pytest.raises(BrokerUnavailable):
        await sink.send([message], deadline=0)
    for outcome, number in {"confirmed": 3, "refused": 1, "unknown": 2}.items():
        assert total(tallies.collect(), "waybill.published.messages", outcome=outcome) == number
    for error, number in {"": 3, "PublishRefused": 1, "PublishUnknown": 1, "BrokerUnavailable": 1}.items():
        name = error and f"waybill.errors.{error}"
        assert total(tallies.collect(), "messaging.client.sent.messages", error_type=name) == number
    for name in ("", "waybill.errors.PublishRefused", "waybill.errors.BrokerUnavailable"):
        assert total(tallies.collect(), "messaging.client.operation.duration", error_type=name) == 1


async def test_metrics_and_spans_call_a_failure_the_same() -> None:
    spans, metrics, begun = Spans(), Metrics(), asyncio.Event()
    one, many, last = Topic("one", int), Topic("many", int), Topic("last", int)
    settings = Settings(url="memory://", shutdown_grace=0.05)
    app = App("odd", settings=settings, instruments=[Tracing(spans.provider), metrics])

    @app.consume(one, timeout=0.05, retry=Retry.none())
    async def handle(_: int) -> None:
        await asyncio.sleep(60)

    @app.consume(many, timeout=0.05, batch=Batch(2), retry=Retry.none())
    async def handle_batch(_: list[int]) -> None:
        await asyncio.sleep(60)

    @app.consume(last)
    async def handle_last(_: int) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with app.running():
        await app.publish(one, 1)
        await app.publish_many(many, [1, 2])
        await until(lambda: counted(metrics, "waybill.dead.lettered.messages") == 3)
        await app.publish(last, 1)
        await asyncio.wait_for(begun.wait(), 10)
        with pytest.raises(PublishRefused):
            await app.publish(results, 1)  # which nobody would get
        await app.publish_many(results, [1, 2])
    handled = {(f"process {topic}", error) for topic, error in failures(metrics, "messaging.process.duration")}
    assert handled == {("process one", TIMEOUT), ("process many", TIMEOUT), ("process last", "")}
    assert handled == {(span.name, (span.attributes or {}).get("error.type", "")) for span in spans.named("process")}
    sent = [(span.kind.name, (span.attributes or {}).get("error.type")) for span in spans.named("send results")]
    assert sorted(sent) == [("CLIENT", REFUSED), ("PRODUCER", REFUSED)]
    for name in ("messaging.client.operation.duration", "messaging.client.sent.messages"):
        assert ("results", REFUSED) in failures(metrics, name)
        assert ("results", "") not in failures(metrics, name)


TIMEOUT, REFUSED = "waybill.errors.HandlerTimeout", "waybill.errors.PublishRefused"


def failures(metrics: Metrics, name: str) -> set[tuple[str, str]]:
    """Destinations, and of what class each failure there was, or none."""
    (reading,) = (reading for reading in metrics.collect() if reading.metric.name == name)
    counts = [
        (labels, value if isinstance(value, int | float) else sum(value.counts)) for labels, value in reading.values
    ]
    return {(labels[3], labels[-1]) for labels, count in counts if count}


async def test_circuits_and_what_the_broker_does_less_are_seen() -> None:
    metrics, bank = Metrics(), CircuitBreaker("bank")
    app = app_with(metrics)
    app.consume(numbers, breaker=bank)(_nothing)
    app.consume(results, breaker=bank)(_nothing)
    async with app.running():
        assert counted(metrics, "waybill.circuit.open", circuit="bank") == 0
        assert counted(metrics, "waybill.circuit.transitions", circuit="bank", to="forced-open") == 0
        bank.open("maintenance")
        assert counted(metrics, "waybill.circuit.open", circuit="bank") == 2
        assert counted(metrics, "waybill.circuit.open", destination="numbers") == 1
        assert counted(metrics, "waybill.circuit.transitions", circuit="bank", to="forced-open") == 1
        assert counted(metrics, "waybill.emulated", destination="numbers", ability="a restart of the broker") == 1
        assert counted(metrics, "waybill.consumer.degraded", destination="results") == 1
    assert not counted(metrics, "waybill.circuit.open"), "nothing runs any more"


async def _nothing(_: int) -> None: ...


async def test_it_can_be_stopped_and_started_again_and_goes_on_counting() -> None:
    metrics, handled = Metrics(), list[int]()
    app = app_with(metrics)

    @app.consume(numbers)
    async def handle(number: int) -> None:
        handled.append(number)

    async with app.running():
        await app.publish(numbers, 1)
        await until(lambda: counted(metrics, "waybill.settled.messages", outcome="acked") == 1)
    async with app.running():
        await app.publish(numbers, 2)
        await until(lambda: counted(metrics, "waybill.settled.messages", outcome="acked") == 2)
    assert handled == [1, 2]


async def test_one_that_only_looks_counts_nothing_and_sees_what_runs() -> None:
    app = App("odd", settings=Settings(url="memory://"))
    app.consume(numbers)(_nothing)
    async with app.running():
        metrics = Metrics.bystander(app)
        assert counted(metrics, "waybill.consumer.up", destination="numbers", group="odd") == 1
        assert not any(reading.values for reading in metrics.collect() if reading.metric.name.startswith("messaging."))


PROTOCOLS = (Explains, Varies, MovesLetters, KeepsHistory, Called, CountsCalls, Describes)
URLS = ("memory://", "amqp://localhost", "kafka://localhost:9092", "sqs://eu-west-1")


@pytest.mark.parametrize("url", URLS)
def test_what_an_adapter_offers_beside_adapter_it_offers_when_seen(url: str) -> None:
    adapter = open_adapter(url, AdapterContext(application="odd", clock=SystemClock(), options={}))
    around = Metrics().around(Metrics().around(adapter))
    for protocol in PROTOCOLS:
        assert isinstance(around, protocol) == isinstance(adapter, protocol), protocol
        names: Any = getattr(protocol, "__protocol_attrs__", None) or set(vars(protocol)) & set(dir(adapter))
        if isinstance(adapter, protocol):
            for name in names:
                if not name.startswith("_"):
                    getattr_static(around, name)  # as Python 3.12 looks for it


def test_the_page_about_metrics_lists_each_of_them() -> None:
    from waybill.telemetry.catalogue import APPLICATION, EXPORTER
    from waybill.telemetry.prometheus import name_of

    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert [metric.name for metric in (*APPLICATION, *EXPORTER) if f"`{name_of(metric)}`" not in page] == []
