"""A span around each handling: of one message in the trace of its publish, of a batch linked to those of all its messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from random import getrandbits
from typing import Any

import msgspec
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, Span, SpanContext, SpanKind, set_span_in_context

from waybill.adapter import Adapter, Describes
from waybill.errors import HandlerTimeout
from waybill.message import Delivery, Message
from waybill.middleware import BatchHandler, Handler
from waybill.observing import failing_span
from waybill.telemetry.conventions import (
    ATTEMPT,
    BATCH,
    CONVERSATION,
    DESTINATION,
    MESSAGE,
    REDRIVE,
    REDRIVES,
    TEMPLATE,
    place_of,
)
from waybill.telemetry.failing import GIVEN_BACK, cut_short
from waybill.telemetry.propagation import Unsampled, context_of, traceparent
from waybill.telemetry.spans import Kind, Spans, Values, linked
from waybill.topology import Subscription

__all__ = ["Processing"]


class Processing:
    """The handlings of one subscription."""

    def __init__(
        self,
        spans: Spans,
        where: Callable[[], tuple[Adapter, Subscription]],
        *,
        continues: bool,
        trusts: bool,
        settles: bool,
    ) -> None:
        """where: known once the source is open. settles: whether settlements have spans."""
        self._spans = spans
        self._where = where
        self._continues = continues
        self._trusts = trusts
        self._follows = trusts and continues
        """Whether a handling has no span where nobody keeps the message's trace."""
        self._settles = settles

    @cached_property
    def _kind(self) -> Kind:
        return Kind(SpanKind.CONSUMER, "process", place_of(*self._where()), of="process")

    @cached_property
    def _many(self) -> bool:
        """Whether it is a subscription to a pattern, and each delivery may be of another topic."""
        return TEMPLATE in self._kind.attributes and DESTINATION not in self._kind.attributes

    @cached_property
    def _describe(self) -> Callable[[Delivery[Any]], Values]:
        adapter, _ = self._where()
        return adapter.delivery_attributes if isinstance(adapter, Describes) else lambda _: {}

    # ---------------------------------------------------------------- one message

    def one(self, following: Handler) -> Handler:
        unsampled = self._spans.carried.unsampled

        async def handle(delivery: Delivery[Any]) -> None:
            message = delivery.message
            if self._follows and (parent := unsampled(message)) is not None:
                token = attach(self._passing(parent, message))
                try:
                    await following(delivery)
                finally:
                    detach(token)
                return
            context, span = self._begin(delivery)
            token = attach(context)
            try:
                await following(delivery)
            except BaseException as error:
                self._failed(span, error, (delivery,))
                raise
            finally:
                detach(token)
                self._spans.end(span)

        return handle

    def _passing(self, parent: str, message: Message) -> Context:
        """No span of ours, and the message's context all the same, for whatever the handler begins and sends."""
        current = get_current()
        if message.headers:
            _, current = self._spans.carried.extract(message, current)
        return set_span_in_context(Unsampled(parent, message.tracestate), current)

    def _begin(self, delivery: Delivery[Any]) -> tuple[Context, Span]:
        message = delivery.message
        creation, brought = self._spans.carried.extract(message, get_current())
        links = [Link(creation)] if creation.is_valid else []
        if message.redrive_span is not None:
            links += linked([context_of(message.redrive_span)])
        told = self._told(delivery, self._kind.attributes)
        if message.correlation_id is not None:
            told[CONVERSATION] = message.correlation_id
        parent = brought if self._continues else set_span_in_context(INVALID_SPAN, brought)
        span = self._spans.start(self._kind, told, parent=parent, links=links)
        self._note(delivery, span)
        return set_span_in_context(span, brought), span

    # ---------------------------------------------------------------- a batch

    def batch(self, following: BatchHandler) -> BatchHandler:
        async def handle(deliveries: Sequence[Delivery[Any]]) -> None:
            unsampled = self._spans.carried.unsampled
            if self._trusts and all(unsampled(delivery.message) is not None for delivery in deliveries):
                token = attach(set_span_in_context(_kept_by_nobody()))
                try:
                    await following(deliveries)
                finally:
                    detach(token)
                return
            span = self._begin_batch(deliveries)
            token = attach(set_span_in_context(span))
            try:
                await following(deliveries)
            except BaseException as error:
                self._failed(span, error, deliveries)
                raise
            finally:
                detach(token)
                self._spans.end(span)

        return handle

    def _begin_batch(self, deliveries: Sequence[Delivery[Any]]) -> Span:
        each = [self._told(delivery, {}) for delivery in deliveries]
        alike = common(each)
        links = [self._link(delivery, told, alike) for delivery, told in zip(deliveries, each, strict=True)]
        own = {**alike, BATCH: len(deliveries)}
        known = [link for link in links if link.context.is_valid]
        span = self._spans.begin(self._kind, own, parent=set_span_in_context(INVALID_SPAN), links=known)
        for delivery in deliveries:
            self._note(delivery, span)
        return span

    def _link(self, delivery: Delivery[Any], told: Values, alike: Values) -> Link:
        """To where it was created, with what is not the same for all."""
        creation = self._spans.carried.creation(delivery.message)
        return Link(creation, {name: told[name] for name in told.keys() - alike.keys()})

    # ---------------------------------------------------------------- both

    def _told(self, delivery: Delivery[Any], before: Values) -> dict[str, str | int | bool]:
        """What is this delivery's own, behind what was told `before`."""
        message = delivery.message
        told = {**before, MESSAGE: message.id, **self._describe(delivery)}
        if self._many:
            told[DESTINATION] = delivery.topic
        if delivery.attempt > 1:
            told[ATTEMPT] = delivery.attempt
        if message.redrives:
            told[REDRIVES] = message.redrives
            if message.redrive is not None:
                told[REDRIVE] = message.redrive
        return told

    def _note(self, delivery: Delivery[Any], span: Span) -> None:
        """For whoever settles it, if somebody keeps the span."""
        context = span.get_span_context()
        if self._settles and context.trace_flags.sampled:
            msgspec.structs.force_setattr(delivery, "_span", context)

    def _failed(self, span: Span, error: BaseException, deliveries: Sequence[Delivery[Any]]) -> None:
        cause = cut_short(error, deliveries[0])
        if cause in GIVEN_BACK:
            span.add_event(f"waybill.{cause}")
            return
        failing_span.set(traceparent(span.get_span_context()))
        timeout = HandlerTimeout("the handler ran longer than its subscription allows")
        self._spans.fail(span, timeout if cause == "timeout" else error, [each.message for each in deliveries])


def _kept_by_nobody() -> Span:
    """Of a trace of its own: a batch goes on with none of its messages' traces, and whatever it begins is kept no more."""
    return NonRecordingSpan(SpanContext(getrandbits(128) or 1, getrandbits(64) or 1, is_remote=False))


def common(told: Sequence[Values]) -> dict[str, str | int | bool]:
    """What all of them say alike."""
    first, *others = told
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
