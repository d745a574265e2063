"""How far traces reach: from an HTTP call over three hops and a redrive, through whatever an adapter offers, and not into the
instrumentations of client libraries."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from opentelemetry import context, propagate
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.telemetry.spans import Spans
from waybill import App, Delivery, Message, Reject, Retry, Settings, Topic
from waybill.adapter import Adapter, Describes, Explains, MovesLetters, Varies
from waybill.calling import Called, CountsCalls
from waybill.clock import SystemClock
from waybill.history import KeepsHistory
from waybill.instruments import Instrument
from waybill.loading import AdapterContext, open_adapter, use_adapter
from waybill.outcomes import Confirmed, SendResult
from waybill.redrive import redrive
from waybill.telemetry.around import Seen, SeenSource, covering
from waybill.telemetry.conventions import place_of
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.tracing import Tracing
from waybill.topology import Destination, Subscription, TopicSpec
from waybill_rabbitmq import describing as rabbitmq
from waybill_sqs import describing as sqs
from waybill_sqs.layout import Layout
from waybill_sqs.options import BrokerTable

ORDERS, INVOICES, PARCELS = Topic("orders", str), Topic("invoices", str), Topic("parcels", str)
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PATIENCE = 20.0


# ---------------------------------------------------------------- one story


async def test_one_trace_from_an_http_call_over_three_hops_and_a_redrive() -> None:
    spans, done = Spans(), asyncio.Event()
    app = shop(spans, done)

    async def order(request: Request) -> JSONResponse:
        caller = propagate.extract(dict(request.headers))
        with spans.tracer.start_as_current_span("POST /orders", context=caller, kind=SpanKind.SERVER):
            return JSONResponse({"id": (await app.publish(ORDERS, "one")).id})

    web = Starlette(routes=[Route("/orders", order, methods=["POST"])], lifespan=app.lifespan)
    async with web.router.lifespan_context(web), httpx.AsyncClient(transport=httpx.ASGITransport(web)) as client:
        answer = await client.post("http://shop/orders", headers={"traceparent": CALLER})
        assert answer.status_code == 200
        async with asyncio.timeout(PATIENCE):
            while not spans.named("dead_letter"):
                await asyncio.sleep(0.005)
        await send_back(app)
        await asyncio.wait_for(done.wait(), PATIENCE)
    trace = {span.name for span in spans.all if f"{span.context.trace_id:032x}" == CALLER[3:35]}
    assert trace >= {
        "POST /orders", "send orders", "process orders", "send invoices", "process invoices", "send parcels",
        "process parcels", "dead_letter parcels",
    }  # fmt: skip
    failed, again = spans.named("process parcels")
    assert failed.context.trace_id == again.context.trace_id
    assert f"{spans.one('redrive').context.trace_id:032x}" != CALLER[3:35]


def shop(spans: Spans, done: asyncio.Event) -> App:
    """Three hops; the last one fails until somebody sends its letter back."""
    app = App("shop", settings=Settings(url="memory://"), instruments=[Tracing(spans.provider)])

    @app.consume(ORDERS)
    async def take(order: str) -> None:
        await app.publish(INVOICES, order)

    @app.consume(INVOICES)
    async def bill(invoice: str) -> None:
        await app.publish(PARCELS, invoice)

    @app.consume(PARCELS)
    async def send(_: str, delivery: Delivery[str]) -> None:
        if not delivery.message.redrives:
            raise Reject("no such street")
        done.set()

    return app


async def send_back(app: App) -> None:
    assert app._runtime is not None
    (subscription,) = [r.subscription for r in app.registrations if r.topic is PARCELS]
    done = await redrive(app._runtime.brokers.of(PARCELS.spec), subscription, lambda _: True)
    assert done.sent == 1


# ---------------------------------------------------------------- what an adapter offers


class Offering(Seen):
    """Offers all that can be looked for."""

    called: Any = {}  # noqa: RUF012

    def narrowed(self, can: Any, topic: Any) -> Any: ...
    def facts(self, subscription: Any) -> Any: ...
    def calls(self, topology: Any, *, rate: float, size: int) -> Any: ...
    async def move_letters(self, subscription: Any, *, rate: Any, note: Any) -> Any: ...
    def past(self, subscription: Any, stretch: Any) -> Any: ...
    async def seek(self, subscription: Any, stretch: Any) -> Any: ...


OFFERS = [Varies, Explains, MovesLetters, KeepsHistory, Called, CountsCalls, Describes]


def embedded() -> Any:
    return open_adapter("memory://", AdapterContext(application="tests", clock=SystemClock(), options={}))


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.__name__)
def test_what_an_adapter_offers_it_offers_traced_as_well(offer: Any) -> None:
    inner = covering(embedded(), Offering)
    traced: Any = Tracing(Spans().provider).around(inner)
    assert isinstance(traced, offer)
    for name in (name for name in dir(offer) if not name.startswith("_")):
        inspect.getattr_static(traced, name)  # how Python 3.12 looks


@pytest.mark.parametrize("offer", OFFERS[:-1], ids=lambda offer: offer.__name__)
def test_what_an_adapter_does_not_offer_it_does_not_traced(offer: Any) -> None:
    traced = Tracing(Spans().provider).around(embedded())
    assert not isinstance(traced, offer)


def test_of_an_adapter_that_says_nothing_its_name_and_the_topics_are_told() -> None:
    class Bare:
        claims = embedded().claims

    bare: Any = Bare()
    topic = TopicSpec("orders")
    assert place_of(bare, Destination("topic", topic)) == {
        "messaging.system": "the_embedded_broker",
        "messaging.destination.name": "orders",
    }
    pattern = Subscription(topic=TopicSpec("orders.*", pattern=True), group="svc")
    assert place_of(bare, pattern)["messaging.destination.template"] == "orders.*"


OF_A_QUEUE = {
    "rabbitmq": lambda place: rabbitmq.of_place(place, ("h", 5672)),
    "sqs": lambda place: sqs.of_place(place, LAYOUT, queues={}, arn=lambda _: None, endpoint="http://h:1"),
}
LAYOUT = Layout(BrokerTable())


@pytest.mark.parametrize("broker", OF_A_QUEUE)
@pytest.mark.parametrize("length", [1, 90])
async def test_a_group_that_passes_away_is_told_by_the_name_that_it_was_declared_with(broker: str, length: int) -> None:
    """Or each process would bring a span and series of names that nobody has seen before."""

    class Broker(Seen):
        def place_attributes(self, place: Any) -> Any:
            return OF_A_QUEUE[broker](place)

        message_attributes = delivery_attributes = position_attributes = lambda *_: {}

    class Bound(Instrument):
        def around(self, adapter: Adapter) -> Adapter:
            return covering(adapter, Broker)

    orders, metrics, spans = Topic("o" * length, str), Metrics(), Spans()
    names, places = set[str](), set[Any]()
    for _ in range(2):
        app = App("ca.che", settings=Settings(url="memory://"), instruments=[Tracing(spans.provider), metrics, Bound()])

        @app.consume(orders, ephemeral=True, retry=Retry.none())
        async def handle(_: str) -> None:
            raise ValueError

        async with app.running():
            await app.publish(orders, "one")
            async with asyncio.timeout(10):
                while not spans.named("dead_letter"):
                    await asyncio.sleep(0.005)
        names.add(spans.one("process").name)
        names.add(spans.one("dead_letter").name.replace("dead_letter", "process"))
        told = spans.one("process").attributes
        assert told is not None
        assert told["messaging.destination.temporary"]
        assert told["messaging.destination.name"] != told["messaging.destination.template"]
        spans.clear()
        readings = [r for r in metrics.collect() if r.metric.name.startswith("messaging.")]
        places |= {labels[2:-1] for reading in readings for labels, _ in reading.values if "ca.che" in labels}
    assert len(names) == len(places) == 1


async def test_copies_for_a_group_that_passes_away_go_where_it_was_declared() -> None:
    """Its retries and dead letters, where the broker has none itself."""
    spans, metrics = Spans(), Metrics()
    group = Subscription(topic=ORDERS.spec, group="cache.0123456789ab", ephemeral=True)
    dead = Destination("dead", ORDERS.spec, group.group)
    sent = Message(id="m1", body=b'"one"', type="t", source="s", time=datetime.now(UTC), traceparent=CALLER)
    adapter = metrics.around(Tracing(spans.provider).around(Named(embedded())))
    async with adapter.source(group, window=1, notify=lambda: None), adapter.sink(dead) as sink:
        await sink.send([sent], deadline=0)
    assert [span.name for span in spans.all] == ["dead_letter orders/cache"]
    readings = [(r.metric.labels, labels) for r in metrics.collect() for labels, _ in r.values]
    assert "cache" in repr(readings)
    assert "0123456789ab" not in repr(readings)


class Named(Seen, Describes):
    """Tells a group's place by the group's name, and takes whatever is sent there."""

    @asynccontextmanager
    async def source(self, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
        yield self

    @asynccontextmanager
    async def sink(self, *_: Any) -> AsyncGenerator[Any, None]:
        yield self

    async def send(self, messages: Sequence[Message], **_: Any) -> Sequence[SendResult]:
        return [Confirmed(message.id) for message in messages]

    def place_attributes(self, place: Any) -> Any:
        return {"messaging.destination.name": place.name, "messaging.consumer.group.name": place.group}


async def test_tools_tell_an_instrument_the_settings_before_all_else() -> None:
    class Noting(Instrument):
        def configured(self, settings: Settings) -> None:
            noted.append(settings.redact)

        def around(self, adapter: Adapter) -> Adapter:
            noted.append("around")
            return adapter

    noted: list[Any] = []
    app = App("svc", settings=Settings(url="memory://", redact=("x-licence",)), instruments=[Noting()])
    async with app.connected():
        assert noted == [("x-licence",), "around"]


# ---------------------------------------------------------------- client libraries


class Looking(Seen):
    """Notes in which calls an instrumentation of its client library would keep silent."""

    seen: dict[str, bool] = {}  # noqa: RUF012

    @classmethod
    def look(cls, call: str) -> None:
        cls.seen[call] = bool(context.get_value("suppress_instrumentation"))

    async def __aenter__(self) -> Any:
        self.look("connect")
        return await super().__aenter__()

    @asynccontextmanager
    async def sink(self, destination: Any) -> AsyncGenerator[Any, None]:
        self.look("sink")
        async with self.inner.sink(destination) as sink:
            yield LookingSink(sink)

    @asynccontextmanager
    async def source(self, subscription: Any, **options: Any) -> AsyncGenerator[Any, None]:
        self.look("source")
        async with self.inner.source(subscription, **options) as source:
            yield LookingSource(source)


class LookingSink:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        Looking.look("send")
        return await self._inner.send(messages, deadline=deadline)


class LookingSource(SeenSource):
    async def receive(self, limit: int) -> Any:
        Looking.look("receive")
        return await super().receive(limit)

    async def settle(self, settled: Any) -> Any:
        Looking.look("settle")
        return await super().settle(settled)


async def test_instrumentations_of_client_libraries_are_silent_in_our_calls_and_not_in_handlers() -> None:
    use_adapter("looking", lambda url, given: covering(open_adapter("memory://", given), Looking))
    spans = Spans()
    app = App("svc", settings=Settings(url="looking://"), instruments=[Tracing(spans.provider)])

    @app.consume(ORDERS)
    async def take(_: str) -> None:
        Looking.look("handler")

    async with app.running():
        await app.publish(ORDERS, "one")
        async with asyncio.timeout(PATIENCE):
            while not spans.named("ack"):
                await asyncio.sleep(0.005)
        Looking.look("publisher")
    silent = dict.fromkeys(("connect", "sink", "source", "send", "receive", "settle"), True)
    assert {**silent, "handler": False, "publisher": False} == Looking.seen


# ---------------------------------------------------------------- the extra


def test_importing_waybill_imports_no_opentelemetry() -> None:
    code = "import sys, waybill, waybill.instruments; sys.exit(any(n.startswith('opentelemetry') for n in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra_the_error_names_the_fix() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "try: import waybill.telemetry.tracing\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(" ", 1) == [
        "ConfigurationError", "traces need their extra. Install it with: pip install 'waybill[otel]'\n",
    ]  # fmt: skip
