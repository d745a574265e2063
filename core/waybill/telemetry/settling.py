"""Spans of settlements, one a call: acknowledged, put off, given back, dead-lettered.

A settlement of what was handled at once is a child of that handling; one of several has a trace of its own, linked to where
the messages were created, as long as they are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, set_span_in_context

from waybill.adapter import Adapter, Sink, Source
from waybill.message import Delivery, Message
from waybill.outcomes import (
    Ack,
    DeadLetter,
    Defer,
    ExtendResult,
    Failed,
    Lost,
    Release,
    SendResult,
    Settled,
    SettleResult,
)
from waybill.telemetry.around import SeenSource
from waybill.telemetry.conventions import BATCH, MESSAGE, place_of
from waybill.telemetry.propagation import context_of
from waybill.telemetry.sending import sent
from waybill.telemetry.spans import Kind, Spans, Values, linked, suppressed
from waybill.topology import Destination, Subscription

__all__ = ["SettlingSink", "TracedSource"]

NAMES = {Ack: "ack", Defer: "retry", Release: "release", DeadLetter: "dead_letter"}
LINKED = 16
"""Messages of one call, at most, to which its span is linked: of many, links would cost more than all else."""
MIXED = "settle"
"""What a call is called that settles in several ways."""


class TracedSource(SeenSource):
    """A subscription's source."""

    __slots__ = ("_kinds", "_spans")

    def __init__(self, inner: Source, spans: Spans, adapter: Adapter, subscription: Subscription) -> None:
        super().__init__(inner)
        told = place_of(adapter, subscription)
        self._spans = spans
        self._kinds = {name: Kind(SpanKind.CLIENT, name, told, of="settle") for name in (*NAMES.values(), MIXED)}

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        with suppressed():
            return await self.inner.receive(limit)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        with suppressed():
            return await self.inner.extend(deliveries)

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        handled = [item.delivery for item in settled if item.delivery._span is not None]
        if not handled:
            with suppressed():
                return await self.inner.settle(settled)
        span = self._begin(settled, handled)
        try:
            with suppressed():
                results = await self.inner.settle(settled)
        except BaseException as error:
            self._spans.fail(span, error)
            raise
        else:
            self._look_at(span, results)
            return results
        finally:
            self._spans.end(span)

    def _begin(self, settled: Sequence[Settled], handled: Sequence[Delivery[Any]]) -> Span:
        """handled: those whose handling has a span that somebody keeps."""
        ways = {type(item.settlement) for item in settled}
        kind = self._kinds[NAMES[ways.pop()] if len(ways) == 1 else MIXED]
        own: Values = {MESSAGE: settled[0].delivery.message.id} if len(settled) == 1 else {BATCH: len(settled)}
        few = handled if len(handled) <= LINKED else ()
        links = linked([self._spans.carried.creation(delivery.message) for delivery in few])
        first: SpanContext = handled[0]._span
        together = all(delivery._span is first for delivery in handled)
        return self._spans.begin(kind, own, parent=within(first) if together else Context(), links=links)

    def _look_at(self, span: Span, results: Sequence[SettleResult]) -> None:
        """One that was not taken is enough for a failure."""
        for result in results:
            if type(result) is Failed:
                self._spans.refuse(span, result, result.cause)
            elif type(result) is Lost:
                self._spans.refuse(span, result, "the lease was lost before")


class SettlingSink:
    """Where copies go that are put off, or dead letters, where the broker cannot do that by itself: a part of settling."""

    def __init__(
        self, inner: Sink, spans: Spans, adapter: Adapter, place: Destination, *, passing: bool = False
    ) -> None:
        """passing: it is an ephemeral group's."""
        told = place_of(adapter, place, passing=passing)
        name = NAMES[DeadLetter if place.kind == "dead" else Defer]
        self._inner = inner
        self._spans = spans
        self._kind = Kind(SpanKind.CLIENT, name, told, of="settle")

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        creations = [self._spans.carried.creation(message) for message in messages]
        if not any(creation.trace_flags.sampled for creation in creations):
            with suppressed():
                return await self._inner.send(messages, deadline=deadline)
        own: Values = {BATCH: len(messages)}
        parent = Context()
        if len(messages) == 1:
            dead = messages[0].dead
            own = {MESSAGE: messages[0].id}
            parent = within(creations[0] if dead is None else context_of(dead.span))
        span = self._spans.begin(self._kind, own, parent=parent, links=linked(creations))
        return await sent(self._spans, span, self._inner, messages, deadline)


def within(span: SpanContext) -> Context:
    """The context of what belongs to a span that has ended."""
    return set_span_in_context(NonRecordingSpan(span), Context())
