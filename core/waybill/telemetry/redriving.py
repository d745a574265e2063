"""Spans of what operators do with dead letters: one for all of it, in which letters are received, sent back and settled.

A redrive is a trace of its own. Each message keeps the context that it was published with, and the redrive's span is linked to
that; its own travels in `Message.redrive_span`, and the handling is linked to it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from opentelemetry.context import get_current
from opentelemetry.trace import Span, SpanKind, get_current_span

from waybill.adapter import Adapter, Sink, Source
from waybill.message import Delivery, Message
from waybill.outcomes import SendResult, Settled, SettleResult
from waybill.telemetry.around import SeenSource
from waybill.telemetry.conventions import BATCH, MESSAGE, OPERATION, REDRIVE, place_of, span_name
from waybill.telemetry.propagation import traceparent
from waybill.telemetry.sending import sent
from waybill.telemetry.spans import Kind, Spans, Values, linked, suppressed
from waybill.topology import Destination, Subscription

__all__ = ["LettersSource", "RedrivingSink", "work_on"]

LOOKING = "dead_letters"
REDRIVING = "redrive"


def work_on(adapter: Adapter, subscription: Subscription) -> Kind:
    """All that is done while a group's dead letters are open."""
    return Kind(SpanKind.INTERNAL, LOOKING, place_of(adapter, _dead(subscription)))


class LettersSource(SeenSource):
    """A group's dead letters, which somebody asks for."""

    __slots__ = ("_receive", "_settle", "_spans")

    def __init__(self, inner: Source, spans: Spans, adapter: Adapter, subscription: Subscription) -> None:
        super().__init__(inner)
        dead = place_of(adapter, _dead(subscription))
        self._spans = spans
        self._receive = Kind(SpanKind.CLIENT, "receive", dead, of="receive")
        self._settle = Kind(SpanKind.CLIENT, "settle", dead, of="settle")

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        """One that brings nothing has no span."""
        since = time.time_ns()
        try:
            with suppressed():
                found = await self.inner.receive(limit)
        except BaseException as error:
            span = self._spans.begin(self._receive, {}, parent=get_current(), since=since)
            self._spans.fail(span, error)
            self._spans.end(span)
            raise
        if found:
            links = linked([self._spans.carried.creation(delivery.message) for delivery in found])
            own = {BATCH: len(found)}
            self._spans.end(self._spans.begin(self._receive, own, parent=get_current(), links=links, since=since))
        return found

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        span = self._spans.begin(self._settle, {BATCH: len(settled)}, parent=get_current())
        try:
            with suppressed():
                return await self.inner.settle(settled)
        except BaseException as error:
            self._spans.fail(span, error)
            raise
        finally:
            self._spans.end(span)


class RedrivingSink:
    """Where dead letters are sent back to."""

    def __init__(self, inner: Sink, spans: Spans, adapter: Adapter, place: Destination) -> None:
        self._inner = inner
        self._spans = spans
        self._place = place_of(adapter, place)
        self._send = Kind(SpanKind.CLIENT, "send", self._place, of="send")

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        own: Values = {MESSAGE: messages[0].id} if len(messages) == 1 else {BATCH: len(messages)}
        creations = [self._spans.carried.creation(message) for message in messages]
        self._name(get_current_span(), messages)
        span = self._spans.begin(self._send, own, parent=get_current(), links=linked(creations))
        told = traceparent(span.get_span_context())
        copies = [msgspec.structs.replace(message, redrive_span=told) for message in messages]
        return await sent(self._spans, span, self._inner, copies, deadline)

    def _name(self, work: Span, messages: Sequence[Message]) -> None:
        """Only now it is known what the letters were opened for."""
        work.update_name(span_name(REDRIVING, self._place))
        work.set_attributes({**self._place, OPERATION: REDRIVING})
        if messages[0].redrive is not None:
            work.set_attribute(REDRIVE, messages[0].redrive)


def _dead(subscription: Subscription) -> Destination:
    return Destination("dead", subscription.topic, subscription.group)
