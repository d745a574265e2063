"""Traces by OpenTelemetry's messaging conventions 1.44: what is sent, handled and settled, and how it hangs together.

    app = App("billing", instruments=[Tracing()])

| span | kind | when |
|---|---|---|
| `send orders` | PRODUCER | around a publish; its context travels with the message |
| `create orders` | PRODUCER | for each message of `publish_many`, whose context travels; `creates=False`: none |
| `send orders` | CLIENT | for each call that carries those, linked to them |
| `process orders` | CONSUMER | around a handler, linked to the message's context and, with `continues`, in the same trace |
| `ack orders` | CLIENT | for each call that settles: `ack`, `retry`, `release`, `dead_letter`, or `settle` for several ways |
| `redrive orders` | INTERNAL | for a redrive, with `receive`, `send` and `settle` in it |
| `dead_letters orders` | INTERNAL | for a discard, with `receive` and `settle` in it |

Names of destinations are those of the conventions for each broker. Receiving has no span where nobody asks for messages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Self

from waybill.adapter import Adapter, Notify, Sink, Source
from waybill.errors import ConfigurationError
from waybill.instruments import Instrument
from waybill.message import Outgoing
from waybill.middleware import BatchMiddleware, Middleware, SendMiddleware
from waybill.topology import Destination, Subscription

try:
    from opentelemetry import propagate, trace
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import TracerProvider
except ModuleNotFoundError as error:
    raise ConfigurationError("traces need their extra. Install it with: pip install 'waybill[otel]'") from error

from waybill.telemetry.around import Seen, covering
from waybill.telemetry.conventions import SCHEMA
from waybill.telemetry.processing import Processing
from waybill.telemetry.redriving import LettersSource, RedrivingSink, work_on
from waybill.telemetry.sending import Created, Sending, TracedSink, Way
from waybill.telemetry.settling import SettlingSink, TracedSource
from waybill.telemetry.spans import Spans, suppressed

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = ["Tracing"]


class Tracing(Instrument):
    """Spans of what an application sends, handles and settles, and their context in each message."""

    def __init__(
        self,
        provider: TracerProvider | None = None,
        *,
        propagator: TextMapPropagator | None = None,
        continues: bool = True,
        creates: bool = True,
        settles: bool = True,
        trusts: bool = True,
    ) -> None:
        """provider: instead of the global one. propagator: instead of the global one, by default W3C's trace context and baggage.

        continues: a handling is part of the trace of its message; `False`: a trace of its own, linked to that one.
        creates: each message of `publish_many` has a span of its own. settles: so have settlements, one a call.
        trusts: of what goes on from a trace that nobody keeps there is no span, whatever the sampler would say.
        """
        self._provider = provider
        self._propagator = propagator
        self._continues = continues
        self._creates = creates
        self._trusts = trusts
        self._settles = settles
        self._ways: dict[tuple[str, str | None], Way] = {}
        self._created: dict[tuple[str, str | None], dict[str, Created]] = {}
        self._sources: dict[tuple[str, str | None, str], tuple[Adapter, Subscription]] = {}
        self._made: Spans | None = None

    @property
    def spans(self) -> Spans:
        """Made when it is needed, since the global provider may be set until then."""
        if self._made is None:
            tracer = trace.get_tracer("waybill", tracer_provider=self._provider, schema_url=SCHEMA)
            self._made = Spans(tracer, self._propagator or propagate.get_global_textmap())
        return self._made

    def configured(self, settings: Settings) -> None:
        self.spans.marked = frozenset(settings.redact)

    def around(self, adapter: Adapter) -> Adapter:
        return covering(adapter, TracedAdapter, self)

    def send_middleware(self) -> SendMiddleware:
        return Sending(self.spans, self._way, creates=self._creates, trusts=self._trusts).around

    def middleware(self, subscription: Subscription) -> Middleware:
        return self._processing(subscription).one

    def batch_middleware(self, subscription: Subscription) -> BatchMiddleware:
        return self._processing(subscription).batch

    def _processing(self, subscription: Subscription) -> Processing:
        return Processing(
            self.spans,
            lambda: self._sources[_key(subscription)],
            continues=self._continues,
            trusts=self._trusts,
            settles=self._settles,
        )

    def _way(self, outgoing: Outgoing) -> Way:
        return self._ways[outgoing.topic, outgoing.broker]

    # ---------------------------------------------------------------- what its adapters open

    def sink(self, inner: Sink, adapter: Adapter, place: Destination) -> Sink:
        if place.kind == "topic":
            key = place.topic.name, place.topic.broker
            way = self._ways[key] = Way(adapter, place, self._created.setdefault(key, {}))
            return TracedSink(inner, self.spans, way, RedrivingSink(inner, self.spans, adapter, place))
        if place.kind == "group":
            return RedrivingSink(inner, self.spans, adapter, place)
        if self._settles:
            _, source = self._sources.get((place.topic.name, place.topic.broker, place.group or ""), (None, None))
            return SettlingSink(inner, self.spans, adapter, place, passing=source is not None and source.ephemeral)
        return inner

    def source(self, inner: Source, adapter: Adapter, subscription: Subscription) -> Source:
        self._sources[_key(subscription)] = adapter, subscription
        return TracedSource(inner, self.spans, adapter, subscription)


def _key(subscription: Subscription) -> tuple[str, str | None, str]:
    return subscription.topic.name, subscription.topic.broker, subscription.group


class TracedAdapter(Seen):
    """Opens what is traced. Whatever its client library does is done with that library's own instrumentation suppressed."""

    def __init__(self, inner: Adapter, tracing: Tracing) -> None:
        super().__init__(inner)
        self._tracing = tracing

    async def __aenter__(self) -> Self:
        with suppressed():
            return await super().__aenter__()

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        with ExitStack() as quiet:
            quiet.enter_context(suppressed())
            async with self.inner.sink(destination) as inner:
                quiet.close()
                yield self._tracing.sink(inner, self.inner, destination)

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        with ExitStack() as quiet:
            quiet.enter_context(suppressed())
            async with self.inner.source(subscription, window=window, notify=notify) as inner:
                quiet.close()
                yield self._tracing.source(inner, self.inner, subscription)

    @asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        spans = self._tracing.spans
        with ExitStack() as quiet:
            quiet.enter_context(suppressed())
            async with self.inner.dead_letters(subscription) as inner:
                quiet.close()
                with spans.during(work_on(self.inner, subscription)):
                    yield LettersSource(inner, spans, self.inner, subscription)
