"""Spans of what is sent: around a publish, for each message of `publish_many`, and for the calls that carry those."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanContext, SpanKind, get_current_span, set_span_in_context

from waybill.adapter import Adapter, Describes, Sink
from waybill.message import Message, Outgoing
from waybill.middleware import Send
from waybill.outcomes import Confirmed, Refused, SendResult
from waybill.telemetry.conventions import BATCH, CONVERSATION, MESSAGE, place_of
from waybill.telemetry.spans import Kind, Spans, Values, linked, suppressed
from waybill.topology import Destination

__all__ = ["Created", "Sending", "TracedSink", "Way"]


class Created(msgspec.Struct, eq=False):
    """One message of many that is on its way: who published it, and the span of its own that it has."""

    ambient: Context
    span: SpanContext | None


class Way:
    """A topic's way out: what its spans are called."""

    def __init__(self, adapter: Adapter, place: Destination, created: dict[str, Created]) -> None:
        """created: by the ids of messages, those that are on their way."""
        told = place_of(adapter, place)
        self._describes = adapter if isinstance(adapter, Describes) else None  # asked once: it takes long
        self.place = place
        self.create = Kind(SpanKind.PRODUCER, "create", told, of="create")
        self.send = Kind(SpanKind.PRODUCER, "send", told, of="send")
        self.carry = Kind(SpanKind.CLIENT, "send", told, of="send")
        self.created = created

    def describe(self, message: Message) -> Values:
        own: dict[str, str | int | bool] = {MESSAGE: message.id}
        if self._describes is not None:
            own |= self._describes.message_attributes(self.place, message)
        if message.correlation_id is not None:
            own[CONVERSATION] = message.correlation_id
        return own

    def locate(self, span: Span, confirmed: Confirmed) -> None:
        if confirmed.position and self._describes is not None and span.is_recording():
            span.set_attributes(self._describes.position_attributes(confirmed.position))


class Sending:
    """What is published."""

    def __init__(self, spans: Spans, way: Callable[[Outgoing], Way], *, creates: bool, trusts: bool) -> None:
        self._spans = spans
        self._way = way
        self._creates = creates
        self._trusts = trusts

    def around(self, following: Send) -> Send:
        async def send(outgoing: Outgoing) -> Confirmed:
            current = get_current()
            ambient = get_current_span(current).get_span_context()
            if self._trusts and ambient.is_valid and not ambient.trace_flags.sampled:
                return await following(self._with(outgoing, current))
            way = self._way(outgoing)
            if outgoing.many:
                return await self._one_of_many(outgoing, way, current, following)
            return await self._send(outgoing, way, current, following)

        return send

    async def _send(self, outgoing: Outgoing, way: Way, current: Context, following: Send) -> Confirmed:
        message = outgoing.message
        span = self._spans.begin(way.send, way.describe(message), parent=current)
        try:
            confirmed = await following(self._with(outgoing, set_span_in_context(span, current)))
            way.locate(span, confirmed)
        except BaseException as error:
            self._spans.fail(span, error, (message,))
            raise
        else:
            return confirmed
        finally:
            self._spans.end(span)

    async def _one_of_many(self, outgoing: Outgoing, way: Way, current: Context, following: Send) -> Confirmed:
        message, span = outgoing.message, None
        if self._creates:
            created = self._spans.begin(way.create, way.describe(message), parent=current)
            self._spans.end(created)
            outgoing = self._with(outgoing, set_span_in_context(created, current))
            span = created.get_span_context()
        way.created[message.id] = Created(current, span)
        try:
            return await following(outgoing)
        finally:
            way.created.pop(message.id, None)

    def _with(self, outgoing: Outgoing, context: Context) -> Outgoing:
        message = self._spans.carried.inject(context, outgoing.message)
        return outgoing if message is outgoing.message else msgspec.structs.replace(outgoing, message=message)


class TracedSink:
    """A topic's sink: one span for what one call carries of those that were published with many others."""

    def __init__(self, inner: Sink, spans: Spans, way: Way, redriving: Sink) -> None:
        """redriving: for dead letters that are sent here, and not to their group."""
        self._inner = inner
        self._spans = spans
        self._way = way
        self._redriving = redriving

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        if messages[0].redrive is not None:
            return await self._redriving.send(messages, deadline=deadline)
        created = self._way.created
        many = [found for message in messages if (found := created.get(message.id)) is not None] if created else []
        if not many:
            with suppressed():
                return await self._inner.send(messages, deadline=deadline)
        return await self._carry(messages, many, deadline)

    async def _carry(
        self, messages: Sequence[Message], many: Sequence[Created], deadline: float
    ) -> Sequence[SendResult]:
        """In the trace of who published them; where several did, in one of its own, linked to all of theirs."""
        way = self._way
        spans = [each.span for each in many if each.span is not None]
        callers = {(found := get_current_span(each.ambient).get_span_context()).span_id: found for each in many}
        alone = len(callers) == 1
        links = linked(spans or ([] if alone else list(callers.values())))
        kind = way.carry if spans else way.send
        span = self._spans.begin(kind, {BATCH: len(many)}, parent=many[0].ambient if alone else Context(), links=links)
        if not spans:
            messages = [self._with(span, message) for message in messages]
        return await sent(self._spans, span, self._inner, messages, deadline)

    def _with(self, span: Span, message: Message) -> Message:
        """In the span of the call, and with what else its own caller gives it: another's baggage is none of its business."""
        created = self._way.created.get(message.id)
        if created is None:
            return message
        return self._spans.carried.inject(set_span_in_context(span, created.ambient), message)


async def sent(
    spans: Spans, span: Span, sink: Sink, messages: Sequence[Message], deadline: float
) -> Sequence[SendResult]:
    """Send them, and end the span with what became of them: it failed if one of them did."""
    try:
        with suppressed():
            results = await sink.send(messages, deadline=deadline)
    except BaseException as error:
        spans.fail(span, error, messages)
        raise
    else:
        failed = next((result for result in results if not isinstance(result, Confirmed)), None)
        if isinstance(failed, Refused):
            spans.refuse(span, failed, failed.reason)
        elif failed is not None:
            spans.refuse(span, failed, failed.cause)
        return results
    finally:
        spans.end(span)
