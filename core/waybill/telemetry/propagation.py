"""A trace's context, into a message and out of it again, whatever propagator there is.

`traceparent` and `tracestate` are attributes of a message, which every broker has its own place for. What else a propagator
writes (`baggage`, `b3`) becomes a header of that name, as it does elsewhere. A message from a program that knows nothing of
Waybill may have all of them among its headers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, Setter, TextMapPropagator
from opentelemetry.trace import (
    INVALID_SPAN,
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)

from waybill.envelope import LONGEST_STATE, TRACEPARENT
from waybill.message import Message

__all__ = ["Carried", "Unsampled", "context_of", "traceparent"]

OWN: Final = ("traceparent", "tracestate")
W3C: Final = "traceparent"
NO_CONTEXT: Final = Context()
FLAGS: Final = {f"{number:02x}": TraceFlags(number) for number in range(256)}
SAMPLED: Final = frozenset(text for text, flags in FLAGS.items() if flags.sampled)


class Carried:
    """Contexts carried by messages, as one propagator writes and reads them."""

    def __init__(self, propagator: TextMapPropagator, failed: Callable[[Exception], None]) -> None:
        """failed: told what the propagator raises. What is carried is then what there would be without one."""
        self._propagator = propagator
        self._failed = failed
        self._plain = W3C in propagator.fields

    def extract(self, message: Message, context: Context) -> tuple[SpanContext, Context]:
        """The span that the message was created in, not valid where there is none; and `context` with it, and with whatever
        else the message brings."""
        if self._plain and not message.headers:  # as nearly always: the same, without asking
            creation = context_of(message.traceparent, message.tracestate)
            return creation, set_span_in_context(NonRecordingSpan(creation), context)
        bare = set_span_in_context(INVALID_SPAN, context)
        try:
            brought = self._propagator.extract(message, bare, FIELDS)
        except Exception as error:  # noqa: BLE001 - what a message brings, and what reads it, may be anything
            self._failed(error)
            brought = bare
        return get_current_span(brought).get_span_context(), brought

    def creation(self, message: Message) -> SpanContext:
        """Of the span that the message was created in. Not valid where there is none."""
        return self.extract(message, NO_CONTEXT)[0]

    def unsampled(self, message: Message) -> str | None:
        """The message's `traceparent`, where it says that nobody keeps the trace and nothing else may say otherwise."""
        parent = message.traceparent
        if parent is None or parent[53:55] in SAMPLED or not self._plain or not TRACEPARENT.fullmatch(parent):
            return None
        return parent

    def inject(self, context: Context, message: Message) -> Message:
        """The message with `context`. A header that somebody has given it already stays what it is."""
        carrier: dict[str, str] = {}
        try:
            self._propagator.inject(carrier, context, SETTER)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            return message
        if not carrier:
            return message
        parent = carrier.pop("traceparent", None)
        state = carrier.pop("tracestate", None)
        if parent is None:
            parent, state = message.traceparent, message.tracestate
        headers = {**carrier, **message.headers} if carrier else message.headers
        return msgspec.structs.replace(message, traceparent=parent, tracestate=state, headers=headers)


class Written(Setter[dict[str, str]]):
    def set(self, carrier: dict[str, str], key: str, value: str) -> None:
        carrier[key] = value


class Fields(Getter[Message]):
    def get(self, carrier: Message, key: str) -> list[str] | None:
        value: str | None = getattr(carrier, key) if key in OWN else None
        if value is None:
            value = carrier.headers.get(key)
        return None if value is None else [value]

    def keys(self, carrier: Message) -> list[str]:
        return [*(name for name in OWN if getattr(carrier, name) is not None), *carrier.headers]


FIELDS: Final = Fields()
SETTER: Final = Written()


class Unsampled(NonRecordingSpan):
    """Stands for a span that nobody keeps: what it says of itself is read from the text when somebody asks."""

    def __init__(self, parent: str, state: str | None) -> None:
        self._parent = parent
        self._state = state

    def get_span_context(self) -> SpanContext:
        return context_of(self._parent, self._state)

    def __repr__(self) -> str:
        return f"Unsampled({self._parent!r})"


def context_of(parent: str | None, state: str | None = None) -> SpanContext:
    """What a `traceparent` says. One that is malformed says nothing."""
    if parent is None or not TRACEPARENT.fullmatch(parent):
        return INVALID_SPAN_CONTEXT
    return SpanContext(
        int(parent[3:35], 16),
        int(parent[36:52], 16),
        is_remote=True,
        trace_flags=FLAGS[parent[53:55]],
        trace_state=_state(state) if state and len(state) <= LONGEST_STATE else None,
    )


@lru_cache(maxsize=256)
def _state(text: str) -> TraceState:
    return TraceState.from_header([text])


def traceparent(context: SpanContext) -> str | None:
    """The other way about. `None` of one that is not valid, as without an SDK."""
    if not context.is_valid:
        return None
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"
