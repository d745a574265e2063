"""V. What can be followed: a message's trace, and its story."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from opentelemetry import baggage, context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from waybill import App, Batch, Delivery, Retry, Topic
from waybill.redrive import redrive
from waybill.telemetry.propagation import traceparent
from waybill.telemetry.tracing import Tracing
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import FAST, Bench
from waybill_contracts.tasks import Task

Here: TypeAlias = tuple[int, Mapping[str, str], object]
"""A trace, its state, and the baggage."""

W3C = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
TRACE = "5" * 32
VENDOR = {"vendor": "t61rcWkgMzE"}
TENANT = "café, 1"


class Spans:
    """What one provider's tracers have ended."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    def of(self, operation: str, kind: str) -> list[ReadableSpan]:
        found = self._kept.get_finished_spans()
        return [span for span in found if span.name.startswith(f"{operation} ") and span.kind.name == kind]

    def app(self, bench: Bench) -> App:
        """One whose messages are traced."""
        return App("group", settings=bench.app().settings, instruments=[Tracing(self.provider, propagator=W3C)])


@contextmanager
def caller() -> Generator[None, None, None]:
    """In the trace of somebody who calls, with what he gives on the way: a vendor's state, and baggage."""
    state = ",".join(f"{name}={value}" for name, value in VENDOR.items())
    came = W3C.extract({"traceparent": f"00-{TRACE}-{'6' * 16}-01", "tracestate": state})
    token = context.attach(baggage.set_baggage("tenant", TENANT, came))
    try:
        yield
    finally:
        context.detach(token)


def here() -> Here:
    """What a handler's own spans would be part of."""
    span = get_current_span().get_span_context()
    return span.trace_id, dict(span.trace_state), baggage.get_baggage("tenant")


@behaviour("V01", seconds=4)
async def a_trace_goes_on_through_attempts_dead_letters_and_redrives_and_a_batch_is_linked(bench: Bench) -> None:
    spans, seen = Spans(), list[Here]()
    topic, lots = bench.topic("orders"), bench.topic("lots", key=None)
    app = spans.app(bench)

    @app.consume(topic, retry=FAST)
    async def take(_: Task, delivery: Delivery[Task]) -> None:
        seen.append(here())
        if not delivery.message.redrives:
            raise ValueError("not before it is redriven")

    @app.consume(lots, batch=Batch(2, wait=bench.patience), retry=Retry.none())
    async def take_both(tasks: list[Task]) -> None:
        assert len(tasks) == 2

    async with app.running():
        with caller():
            await app.publish(topic, Task(1, key="k1"))
            await app.publish_many(lots, [Task(2), Task(3)])
        await the_letter_keeps_its_trace(bench, spans, topic)
        await send_back(bench, app, topic)
        await bench.until(lambda: len(seen) == 4, "it is redriven")
        await bench.until(lambda: len(spans.of("process", "CONSUMER")) == 5, "the two are handled as one")
    assert seen == [(int(TRACE, 16), VENDOR, TENANT)] * 4, "each attempt is in the caller's trace, with what he gave"
    each_is_linked(spans)


async def the_letter_keeps_its_trace(bench: Bench, spans: Spans, topic: Topic[Any]) -> None:
    (letter,) = await bench.eventually(lambda: bench.dead(topic), bool, "it is a dead letter")
    (publish,) = spans.of("send", "PRODUCER")
    assert letter.traceparent == traceparent(_context(publish)), "the letter keeps the context of its publish"
    handlings = {traceparent(_context(span)): span.attributes for span in spans.of("process", "CONSUMER")}
    assert letter.dead is not None
    assert letter.dead.span is not None
    last = handlings[letter.dead.span]
    assert last is not None
    assert last["waybill.attempt"] == 3, "its record names the span of the last attempt"


async def send_back(bench: Bench, app: App, topic: Topic[Any]) -> None:
    """As an operator does, whose tools are traced as well."""
    operator = App("group", settings=app.settings, instruments=app.instruments)
    async with operator.connected() as brokers:
        done = await redrive(brokers.of(topic.spec), bench.subscription(topic), lambda _: True)
    assert done.sent == 1, done


def each_is_linked(spans: Spans) -> None:
    (publish,) = spans.of("send", "PRODUCER")
    (again,) = _saying(spans, "waybill.redrives")
    (sent_back,) = (span for span in spans.of("send", "CLIENT") if _context(span).trace_id != int(TRACE, 16))
    assert _links(again) == {_id(publish), _id(sent_back)}, (
        "the redriven one is linked to its publish and to the redrive"
    )
    assert _links(sent_back) == {_id(publish)}, "the redrive is linked to the publish"
    (batch,) = _saying(spans, "messaging.batch.message_count")
    created = {_id(span) for span in spans.of("create", "PRODUCER")}
    assert len(created) == 2
    assert _links(batch) == created, "the batch is linked to all of its messages"


def _saying(spans: Spans, attribute: str) -> list[ReadableSpan]:
    return [span for span in spans.of("process", "CONSUMER") if attribute in (span.attributes or {})]


def _links(span: ReadableSpan) -> set[int]:
    return {link.context.span_id for link in span.links}


def _id(span: ReadableSpan) -> int:
    return _context(span).span_id


def _context(span: ReadableSpan) -> SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found


@behaviour("V05", seconds=2)
async def what_a_story_began_with_and_what_caused_each_message_is_told_over_three_hops_and_a_retry(
    bench: Bench,
) -> None:
    first, second, third = (bench.topic(name) for name in ("first", "second", "third"))
    app, given = bench.app(), list[Delivery[Task]]()

    @app.consume(first, retry=FAST)
    async def hop(_: Task, delivery: Delivery[Task]) -> None:
        given.append(delivery)
        await app.publish(second, Task(2))

    @app.consume(second, retry=FAST)
    async def hop_again(_: Task, delivery: Delivery[Task]) -> None:
        given.append(delivery)
        await app.publish(third, Task(3))
        if delivery.attempt == 1:
            raise ValueError("once more, and what was published is the same")

    @app.consume(third, retry=FAST)
    async def end(_: Task, delivery: Delivery[Task]) -> None:
        given.append(delivery)

    async with app.running():
        began = (await app.publish(first, Task(1))).id
        await bench.until(lambda: _of(given, second)[1:] and _of(given, third)[1:], "the second is tried twice")
    (start,) = {delivery.message.id for delivery in _of(given, first)}
    (middle,) = {delivery.message.id for delivery in _of(given, second)}
    assert start == began
    for delivery in given:
        message = delivery.message
        told = (message.correlation_id, message.causation_id)
        expected = {first.name: (None, None), second.name: (began, began), third.name: (began, middle)}
        assert told == expected[delivery.topic], f"on {delivery.topic}, attempt {delivery.attempt}"
    assert len({delivery.message.id for delivery in _of(given, third)}) == 1, "a second attempt publishes the same"


def _of(given: list[Delivery[Task]], topic: Topic[Any]) -> list[Delivery[Task]]:
    return [delivery for delivery in given if delivery.topic == topic.name]
