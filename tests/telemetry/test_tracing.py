"""Traces on the embedded broker: who is whose child, what is linked, what is told of failures, and that nothing leaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    NoOpTracerProvider,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)

from tests.telemetry.spans import Spans
from waybill import (
    App,
    Batch,
    Confirmed,
    Delivery,
    ItemsFailed,
    Message,
    PublishRefused,
    Reject,
    Retry,
    Settings,
    Topic,
    TopicPattern,
)
from waybill.deadletters import again
from waybill.letters import pages
from waybill.outcomes import Ack
from waybill.redrive import redrive
from waybill.telemetry.conventions import BATCH
from waybill.telemetry.propagation import context_of, traceparent
from waybill.telemetry.tracing import Tracing
from waybill.topology import Destination

ORDERS = Topic("orders", str)
INVOICES = Topic("invoices", str)
PARCELS = Topic("parcels", str)
KEPT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_KEPT = KEPT[:-2] + "00"
PATIENCE = 20.0


@pytest.fixture
def spans() -> Spans:
    return Spans()


def service(spans: Spans, name: str = "svc", **options: Any) -> App:
    settings = Settings(url="memory://", shutdown_grace=2.0)
    return App(name, settings=settings, topics=[ORDERS], instruments=[Tracing(spans.provider, **options)])


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


async def put(app: App, **attributes: Any) -> None:
    """A message as another program sends it."""
    sent = Message(id="m1", body=b'"one"', type="orders", source="elsewhere", time=datetime.now(UTC), **attributes)
    assert app._runtime is not None
    adapter: Any = app._runtime.brokers.of(ORDERS.spec)
    async with adapter.inner.sink(Destination("topic", ORDERS.spec)) as sink:
        await sink.send([sent], deadline=asyncio.get_running_loop().time() + 5)


@asynccontextmanager
async def handling(
    spans: Spans, handler: Any, *, retry: Retry | None = None, **options: Any
) -> AsyncGenerator[App, None]:
    """A service whose handler of orders is this one."""
    app = service(spans, **options)
    app.consume(ORDERS, retry=Retry.fixed(2, delay=0.01) if retry is None else retry)(handler)
    async with app.running():
        yield app


# ---------------------------------------------------------------- one story


async def test_a_handling_is_the_publishs_child_and_what_it_publishes_is_its_own(spans: Spans) -> None:
    app = service(spans)

    @app.consume(ORDERS)
    async def take(order: str) -> None:
        with spans.tracer.start_as_current_span("the service's own"):
            await app.publish(INVOICES, order)

    @app.consume(INVOICES)
    async def send(_: str) -> None:
        pass

    async with app.running():
        await app.publish(ORDERS, "one")
        await until(lambda: len(spans.named("ack")) == 2)
    publish, handle, own = spans.one("send orders"), spans.one("process orders"), spans.one("the service")
    assert [publish.parent, _parent(handle), _parent(own)] == [None, _id(publish), _id(handle)]
    assert _parent(spans.one("send invoices")) == _id(own)
    assert _parent(spans.one("process invoices")) == _id(spans.one("send invoices"))
    assert len({span.context.trace_id for span in spans.all}) == 1


async def test_a_handling_in_a_trace_of_its_own_is_linked_to_the_publish(spans: Spans) -> None:
    async with handling(spans, _nothing, continues=False) as app:
        await app.publish(ORDERS, "one")
        await until(lambda: spans.named("ack"))
    publish, handle = spans.one("send orders"), spans.one("process orders")
    assert handle.parent is None
    assert handle.context.trace_id != publish.context.trace_id
    assert [link.context.span_id for link in handle.links] == [_id(publish)]


async def test_each_attempt_has_a_span_and_the_letter_names_the_last(spans: Spans) -> None:
    async def fail(_: str) -> None:
        raise ValueError("it does not fit")

    async with handling(spans, fail) as app:
        await app.publish(ORDERS, "one")
        await until(lambda: spans.named("dead_letter"))
        (letter,) = await _letters(app)
    first, second = spans.named("process")
    assert [span.attributes.get("waybill.attempt") for span in (first, second) if span.attributes] == [None, 2]
    assert _parent(first) == _parent(second) == _id(spans.one("send"))
    assert letter.dead is not None
    assert letter.dead.span == traceparent(second.get_span_context())
    assert letter.traceparent == traceparent(spans.one("send").get_span_context())
    assert _parent(spans.one("retry")) == _id(first)
    assert _parent(spans.one("dead_letter")) == _id(second)


async def test_a_redrive_is_a_trace_of_its_own_linked_both_ways(spans: Spans) -> None:
    async def fail_once(_: str, delivery: Delivery[str]) -> None:
        if not delivery.message.redrives:
            raise Reject("no")

    async with handling(spans, fail_once) as app:
        await app.publish(ORDERS, "one")
        await until(lambda: spans.named("dead_letter"))
        assert app._runtime is not None
        (subscription,) = [registration.subscription for registration in app.registrations]
        await redrive(app._runtime.brokers.of(ORDERS.spec), subscription, lambda _: True)
        assert get_current_span() is INVALID_SPAN
        await until(lambda: spans.named("ack"))
    publish, sending = spans.named("send")
    redriving, again = spans.one("redrive"), spans.named("process")[-1]
    assert redriving.parent is None
    assert redriving.context.trace_id != publish.context.trace_id
    assert _parent(sending) == _id(redriving)
    assert [link.context.span_id for link in sending.links] == [_id(publish)]
    assert again.context.trace_id == publish.context.trace_id
    assert [link.context.span_id for link in again.links] == [_id(publish), _id(sending)]


async def test_where_nobody_makes_spans_no_record_names_one() -> None:
    seen: list[Message] = []

    async def fail_once(_: str, delivery: Delivery[str]) -> None:
        seen.append(delivery.message)
        if not delivery.message.redrives:
            raise Reject("no")

    app = App("svc", settings=Settings(url="memory://"), instruments=[Tracing(NoOpTracerProvider())])
    app.consume(ORDERS)(fail_once)
    async with app.running():
        await app.publish(ORDERS, "one")
        await until(lambda: seen)
        assert app._runtime is not None
        async with asyncio.timeout(PATIENCE):
            while not (letters := await _letters(app)):
                await asyncio.sleep(0.005)
        assert letters[0].dead is not None
        assert letters[0].dead.span is None
        await redrive(app._runtime.brokers.of(ORDERS.spec), app.registrations[0].subscription, lambda _: True)
        await until(lambda: len(seen) == 2)
    assert (seen[1].redrives, seen[1].redrive_span, seen[1].traceparent) == (1, None, None)


async def test_a_letter_that_is_sent_to_another_topic_is_linked_as_well(spans: Spans) -> None:
    app, seen = service(spans), list[Message]()

    @app.consume(ORDERS, retry=Retry.none())
    async def fail(_: str) -> None:
        raise Reject("no")

    @app.consume(INVOICES)
    async def take(_: str, delivery: Delivery[str]) -> None:
        seen.append(delivery.message)

    async with app.running():
        await app.publish(ORDERS, "one")
        await until(lambda: spans.named("dead_letter"))
        (letter,) = await _letters(app)
        assert app._runtime is not None
        async with app._runtime.brokers.of(INVOICES.spec).sink(Destination("topic", INVOICES.spec)) as sink:
            await sink.send([again(letter, "op1")], deadline=asyncio.get_running_loop().time() + 5)
        await until(lambda: seen)
        await app.publish_many(INVOICES, ["two"])
        await until(lambda: len(seen) == 2)
    (sent,) = [span for span in spans.named("send invoices") if span.attributes and BATCH not in span.attributes]
    assert [link.context.span_id for link in sent.links] == [_id(spans.one("send orders"))]
    assert (seen[0].redrive_span, seen[0].traceparent) == (traceparent(sent.get_span_context()), letter.traceparent)
    assert len(spans.named("create invoices")) == 1


# ---------------------------------------------------------------- many at once


async def test_each_of_many_has_a_context_of_its_own_and_the_call_that_carries_them_is_linked_to_all(
    spans: Spans,
) -> None:
    async with handling(spans, _nothing) as app:
        with spans.tracer.start_as_current_span("caller") as caller:
            await app.publish_many(ORDERS, ["one", "two", "three"])
        await until(lambda: len(spans.named("process")) == 3)
    created, call = spans.named("create"), spans.one("send")
    assert {_parent(span) for span in [*created, call]} == {caller.get_span_context().span_id}
    assert {link.context.span_id for link in call.links} == {_id(span) for span in created}
    assert {_parent(span) for span in spans.named("process")} == {_id(span) for span in created}


async def test_without_create_spans_many_have_the_context_of_the_call(spans: Spans) -> None:
    async with handling(spans, _nothing, creates=False) as app:
        await app.publish_many(ORDERS, ["one", "two"])
        await until(lambda: len(spans.named("process")) == 2)
    call = spans.one("send")
    assert (spans.named("create"), call.kind.name, call.links) == ([], "PRODUCER", ())
    assert {_parent(span) for span in spans.named("process")} == {_id(call)}


async def test_messages_of_several_callers_in_one_call_keep_each_the_baggage_of_its_own(spans: Spans) -> None:
    got: dict[str, Any] = {}

    async def take(order: str, delivery: Delivery[str]) -> None:
        got[order] = delivery.message.headers.get("baggage")

    async def publish(app: App, who: str) -> int:
        context.attach(baggage.set_baggage("tenant", who))
        with spans.tracer.start_as_current_span(who) as caller:
            await app.publish_many(ORDERS, [who])
            return caller.get_span_context().span_id

    async with handling(spans, take, creates=False) as app:
        await app.publish(ORDERS, "the first opens the way, so that the others go together")
        async with asyncio.TaskGroup() as both:
            callers = [both.create_task(publish(app, who)) for who in ("alice", "bob")]
        await until(lambda: len(got) == 3)
    assert (got["alice"], got["bob"]) == ("tenant=alice", "tenant=bob")
    (call,) = [span for span in spans.named("send") if BATCH in (span.attributes or {})]
    assert {link.context.span_id for link in call.links} == {caller.result() for caller in callers}


async def test_a_batch_has_one_span_linked_to_all_of_its_messages(spans: Spans) -> None:
    app = service(spans)

    @app.consume(ORDERS, batch=Batch(3, wait=30.0), retry=Retry.none())
    async def take(orders: list[str]) -> None:
        assert get_current_span().is_recording()
        raise ItemsFailed({1: ValueError("no")})

    async with app.running():
        for order in ("one", "two", "three"):
            await app.publish(ORDERS, order)
        await until(lambda: spans.named("settle"))
        (letter,) = await _letters(app)
    batch = spans.one("process")
    assert batch.parent is None
    assert {link.context.span_id for link in batch.links} == {_id(span) for span in spans.named("send")}
    assert batch.attributes is not None
    assert batch.attributes["messaging.batch.message_count"] == 3
    assert batch.attributes["error.type"] == "waybill.errors.ItemsFailed"
    assert letter.dead is not None
    assert letter.dead.span == traceparent(batch.get_span_context())


async def test_of_a_pattern_the_pattern_names_the_span_and_the_topic_is_told(spans: Spans) -> None:
    app = service(spans)
    eu = Topic("orders.eu", str)

    @app.consume(TopicPattern("orders.*", str))
    async def take(_: str) -> None:
        pass

    async with app.running():
        await app.publish(eu, "one")
        await until(lambda: spans.named("ack"))
    span = spans.one("process")
    assert span.attributes is not None
    assert span.name == "process orders.*"
    assert span.attributes["messaging.destination.template"] == "orders.*"
    assert span.attributes["messaging.destination.name"] == "orders.eu"


async def test_a_test_of_a_service_can_look_at_its_spans(spans: Spans) -> None:
    app = service(spans)

    @app.consume(ORDERS, retry=Retry.fixed(2, delay=60.0))
    async def fail(_: str) -> None:
        raise ValueError("no")

    async with app.test() as bus:
        await bus.publish(ORDERS, "one")
        await bus.drain()
        await bus.advance(61)
        (letter,) = bus.dead_letters(ORDERS)
    assert len({span.context.trace_id for span in spans.all}) == 1
    assert [span.name for span in spans.named("process")] == ["process orders"] * 2
    assert letter.record.span == traceparent(spans.named("process")[-1].get_span_context())


async def test_settlements_can_go_without_spans(spans: Spans) -> None:
    async with handling(spans, _nothing, settles=False) as app:
        await app.publish(ORDERS, "one")
        await until(lambda: spans.named("process"))
    assert {span.name for span in spans.all} == {"send orders", "process orders"}


# ---------------------------------------------------------------- what travels


async def test_baggage_and_state_travel_and_a_header_of_the_users_stays(spans: Spans) -> None:
    got: list[Any] = []

    async def take(_: str, delivery: Delivery[str]) -> None:
        state = get_current_span().get_span_context().trace_state
        got.append((baggage.get_baggage("tenant"), dict(state), delivery.message.headers.get("baggage")))

    async with handling(spans, take) as app:
        token = context.attach(baggage.set_baggage("tenant", "café, 1", _kept({"vendor": "1"})))
        try:
            await app.publish(ORDERS, "one")
            await app.publish(ORDERS, "two", headers={"baggage": "tenant=mine"})
        finally:
            context.detach(token)
        await until(lambda: len(got) == 2)
    assert got[0] == ("café, 1", {"vendor": "1"}, "tenant=caf%C3%A9%2C+1")
    assert got[1] == ("mine", {"vendor": "1"}, "tenant=mine")


class Own(TextMapPropagator):
    """Somebody's own way: one field."""

    fields = {"x-own"}  # type: ignore[assignment]  # noqa: RUF012

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = default_setter) -> None:
        setter.set(carrier, "x-own", traceparent(get_current_span(context).get_span_context()))

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = default_getter) -> Context:
        (text,) = getter.get(carrier, "x-own") or (None,)
        return set_span_in_context(NonRecordingSpan(context_of(text)), context)


async def test_any_propagator_will_do(spans: Spans) -> None:
    seen: list[Message] = []

    async def take(_: str, delivery: Delivery[str]) -> None:
        seen.append(delivery.message)

    async with handling(spans, take, propagator=Own()) as app:
        await app.publish(ORDERS, "one")
        await until(lambda: spans.named("ack"))
    publish = spans.one("send")
    assert _parent(spans.one("process")) == _id(publish)
    assert (seen[0].traceparent, seen[0].headers["x-own"]) == (None, traceparent(publish.get_span_context()))


async def test_a_propagator_of_baggage_alone_begins_a_trace_at_each_handling(spans: Spans) -> None:
    async with handling(spans, _nothing, propagator=W3CBaggagePropagator()) as app:
        await app.publish(ORDERS, "one")
        await until(lambda: spans.named("ack"))
    assert spans.one("process").parent is None


@pytest.mark.parametrize("where", ["attributes", "headers"])
async def test_a_trace_of_another_program_goes_on(spans: Spans, where: str) -> None:
    given: dict[str, Any] = {"traceparent": KEPT, "tracestate": "a=b"}
    async with handling(spans, _nothing) as app:
        await put(app, **(given if where == "attributes" else {"headers": given}))
        await until(lambda: spans.named("ack"))
    span = spans.one("process")
    assert format_trace_id(span.context.trace_id) == KEPT[3:35]
    assert dict(span.context.trace_state) == {"a": "b"}


@pytest.mark.parametrize(
    "parent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", KEPT.upper(), KEPT + "-more", "00-1-2-03"]
)
async def test_what_is_no_trace_begins_one(spans: Spans, parent: str) -> None:
    async with handling(spans, _nothing) as app:
        await put(app, traceparent=parent, tracestate="x" * 9999, redrive_span=parent)
        await until(lambda: spans.named("ack"))
    assert (spans.one("process").parent, spans.one("process").links) == (None, ())


# ---------------------------------------------------------------- what nobody keeps


async def test_of_what_is_not_sampled_there_is_no_span_and_the_context_goes_on(spans: Spans) -> None:
    app, seen = service(spans), list[Any]()

    @app.consume(ORDERS)
    async def take(order: str) -> None:
        current = get_current_span().get_span_context()
        seen.append((current.trace_flags.sampled, format_trace_id(current.trace_id), dict(current.trace_state)))
        with spans.tracer.start_as_current_span("the service's own"):
            await app.publish(INVOICES, order)

    @app.consume(INVOICES)
    async def send(_: str, delivery: Delivery[str]) -> None:
        seen.append((delivery.message.traceparent, delivery.message.tracestate))

    async with app.running():
        await put(app, traceparent=NOT_KEPT, tracestate="a=b")
        await until(lambda: len(seen) == 2)
    assert spans.all == ()
    assert seen[0] == (False, NOT_KEPT[3:35], {"a": "b"})
    assert seen[1][0].startswith(NOT_KEPT[:36])
    assert seen[1][0].endswith("-00")
    assert seen[1][1] == "a=b"


async def test_a_handling_in_a_trace_of_its_own_does_not_follow_one_that_nobody_keeps(spans: Spans) -> None:
    app, seen = service(spans, continues=False), list[str]()

    @app.consume(ORDERS)
    async def take(order: str) -> None:
        await app.publish(INVOICES, order)

    @app.consume(INVOICES)
    async def send(_: str, delivery: Delivery[str]) -> None:
        seen.append(str(delivery.message.traceparent))

    async with app.running():
        await put(app, traceparent=NOT_KEPT)
        await until(lambda: seen and len(spans.named("process")) == 2)
    handle, publish = spans.one("process orders"), spans.one("send invoices")
    assert handle.parent is None
    assert format_trace_id(handle.context.trace_id) != NOT_KEPT[3:35]
    assert seen == [traceparent(publish.get_span_context())]
    assert _parent(publish) == _id(handle)


async def test_a_batch_that_nobody_keeps_belongs_to_no_trace_that_there_was_before(spans: Spans) -> None:
    app, seen = service(spans), list[str]()

    @app.consume(ORDERS, batch=Batch(1))
    async def take(orders: list[str]) -> None:
        with spans.tracer.start_as_current_span("the service's own"):
            await app.publish(INVOICES, orders[0])

    @app.consume(INVOICES)
    async def send(_: str, delivery: Delivery[str]) -> None:
        seen.append(str(delivery.message.traceparent))

    with spans.tracer.start_as_current_span("start") as start:
        async with app.running():
            await put(app, traceparent=NOT_KEPT)
            await until(lambda: seen)
    assert {span.name for span in spans.all} == {"start"}
    assert not context_of(seen[0]).trace_flags.sampled
    assert seen[0][3:35] not in {NOT_KEPT[3:35], "0" * 32, format_trace_id(start.get_span_context().trace_id)}


async def test_a_sampler_that_keeps_all_the_same_is_asked_where_nobody_is_trusted() -> None:
    spans = Spans(ALWAYS_ON)
    async with handling(spans, _nothing, trusts=False) as app:
        await put(app, traceparent=NOT_KEPT)
        await until(lambda: spans.named("ack"))
    assert format_trace_id(spans.one("process").context.trace_id) == NOT_KEPT[3:35]


async def test_what_the_sampler_drops_at_the_publish_is_dropped_all_the_way() -> None:
    spans, seen = Spans(ParentBased(ALWAYS_OFF)), list[Any]()

    async def take(_: str, delivery: Delivery[str]) -> None:
        seen.append(delivery.message.traceparent)

    async with handling(spans, take) as app:
        await app.publish(ORDERS, "one")
        await app.publish_many(ORDERS, ["two"])
        await until(lambda: len(seen) == 2)
    assert spans.all == ()
    assert all(int(parent[-2:], 16) & 1 == 0 for parent in seen)


# ---------------------------------------------------------------- failures


async def test_a_failure_is_told_without_its_secrets(spans: Spans) -> None:
    app = service(spans)
    accounts = Topic("accounts", dict[str, str])

    @app.consume(accounts, retry=Retry.none())
    async def take(account: dict[str, str]) -> None:
        raise ValueError(f"cannot log in as ada with {account['password']}, token=abcdef123456")

    async with app.running():
        await app.publish(
            accounts, {"user": "ada", "password": "correct horse"}, headers={"authorization": "Bearer zzz9zzz9"}
        )
        await until(lambda: spans.named("dead_letter"))
    span = spans.one("process")
    (event,) = span.events
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "cannot log in as ada with ***, token=***"
    assert event.attributes is not None
    assert event.attributes["exception.type"] == "ValueError"
    everything = repr(
        [(each.attributes, each.status.description, [e.attributes for e in each.events]) for each in spans.all]
    )
    for secret in ("correct horse", "abcdef123456", "zzz9zzz9"):
        assert secret not in everything


async def test_one_that_runs_too_long_is_told_so(spans: Spans) -> None:
    app = service(spans)

    @app.consume(ORDERS, timeout=0.05, retry=Retry.none())
    async def take(_: str) -> None:
        await asyncio.sleep(PATIENCE)

    async with app.running():
        await app.publish(ORDERS, "one")
        await until(lambda: spans.named("dead_letter"))
    attributes = spans.one("process").attributes
    assert attributes is not None
    assert attributes["error.type"] == "waybill.errors.HandlerTimeout"


async def test_one_that_a_shutdown_cuts_short_has_not_failed(spans: Spans) -> None:
    app, begun = service(spans), asyncio.Event()
    app.settings = Settings(url="memory://", shutdown_grace=0.05)

    @app.consume(ORDERS)
    async def take(_: str) -> None:
        begun.set()
        await asyncio.sleep(PATIENCE)

    async with app.running():
        await app.publish(ORDERS, "one")
        await asyncio.wait_for(begun.wait(), PATIENCE)
    span = spans.one("process")
    assert (span.status.status_code, [event.name for event in span.events]) == (StatusCode.UNSET, ["waybill.shutdown"])
    assert _parent(spans.one("release")) == _id(span)


async def test_a_publish_that_is_refused_says_so(spans: Spans) -> None:
    async with service(spans).running() as app:
        with pytest.raises(PublishRefused):
            await app.publish(ORDERS, "x" * (20 << 20))
        (result,) = await app.publish_many(ORDERS, ["x" * (20 << 20)])
    span = spans.one("send")
    assert span.attributes is not None
    assert (span.status.status_code, span.attributes["error.type"]) == (
        StatusCode.ERROR,
        "waybill.errors.PublishRefused",
    )
    assert not hasattr(result, "position")


class Broken(SpanProcessor, TextMapPropagator):
    """What somebody has plugged in, and always raises."""

    fields = {"x-own"}  # type: ignore[assignment]  # noqa: RUF012

    def on_start(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("cannot begin")

    def on_end(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("cannot end")

    def inject(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("cannot inject")

    def extract(self, *_: Any, **__: Any) -> Context:
        raise RuntimeError("cannot extract")


class BrokenAtTheEnd(Broken):
    def on_start(self, *_: Any, **__: Any) -> None: ...


@pytest.mark.parametrize("broken", [Broken(), BrokenAtTheEnd()])
@pytest.mark.parametrize("batch", [None, Batch(2, wait=0.01)])
async def test_what_tracing_raises_decides_nothing(
    spans: Spans, broken: Broken, batch: Batch | None, caplog: pytest.LogCaptureFixture
) -> None:
    spans.provider.add_span_processor(broken)
    app, calls, ends = service(spans, propagator=broken), list[Any](), list[Any]()

    async def take(order: Any) -> None:
        calls.append(order)

    app.consume(ORDERS, retry=Retry.fixed(2, delay=0.01), batch=batch)(take)  # type: ignore[call-overload]
    app.observe(lambda handled: ends.append(type(handled.settlement)))
    async with app.running():
        await app.publish(ORDERS, "one")
        results = await app.publish_many(ORDERS, ["two"])
        await until(lambda: len(ends) == 2)
    assert [type(result) for result in results] == [Confirmed]
    assert ends == [Ack, Ack]
    assert len(calls) <= 2
    assert len([record for record in caplog.records if record.name == "waybill.telemetry"]) == 1


# ---------------------------------------------------------------- nothing leaks


async def test_no_context_is_left_behind_by_what_fails(spans: Spans) -> None:
    inside: list[bool] = []

    async def fail(order: str) -> None:
        inside.append(get_current_span().is_recording())
        if order == "odd":
            raise ValueError(order)

    async with handling(spans, fail, retry=Retry.none()) as app:
        for order in ("odd", "even", "odd", "even"):
            await app.publish(ORDERS, order)
            assert get_current_span() is INVALID_SPAN
        with pytest.raises(PublishRefused):
            await app.publish(ORDERS, "x" * (20 << 20))
        assert get_current_span() is INVALID_SPAN
        await until(lambda: len(spans.named("process")) == 4)
    assert get_current_span() is INVALID_SPAN
    assert inside == [True] * 4
    traces = [span.context.trace_id for span in spans.named("process")]
    assert len(set(traces)) == 4


async def test_the_span_that_an_application_is_started_in_is_nobodys_parent(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("start"):
        async with handling(spans, _nothing) as app:
            await put(app)
            await until(lambda: spans.named("ack"))
    assert spans.one("process").parent is None


async def test_two_handlers_at_once_have_each_its_own(spans: Spans) -> None:
    met, seen = asyncio.Barrier(2), dict[str, int]()

    async def take(order: str) -> None:
        await met.wait()
        seen[order] = get_current_span().get_span_context().trace_id

    async with handling(spans, take) as app:
        await app.publish(ORDERS, "one")
        await app.publish(ORDERS, "two")
        await until(lambda: len(seen) == 2)
    assert len(set(seen.values())) == 2


# ---------------------------------------------------------------- helpers


async def _nothing(_: str) -> None:
    pass


def _kept(state: dict[str, str]) -> Context:
    """What a caller's context is in a trace that somebody keeps."""
    told = ",".join(f"{name}={value}" for name, value in state.items())
    return set_span_in_context(NonRecordingSpan(context_of(KEPT, told)))


async def _letters(app: App) -> list[Message]:
    assert app._runtime is not None
    subscription = app.registrations[0].subscription
    return [m async for page in pages(app._runtime.brokers.admin, subscription) for m in page.messages]


def _id(span: Any) -> int:
    number: int = span.context.span_id
    return number


def _parent(span: Any) -> int | None:
    return None if span.parent is None else span.parent.span_id
