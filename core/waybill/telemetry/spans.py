"""What all spans have in common: how they begin, what they say of a failure, and that nobody else's are made beside them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from waybill.adapter import Attributes
from waybill.deadletters import MAX_DETAIL, MAX_STACK, shorten
from waybill.errors import describe
from waybill.message import Message
from waybill.outcomes import Failed, Lost, Refused, Unknown
from waybill.redaction import redact, secrets_of
from waybill.telemetry.conventions import ERROR, OPERATION, TYPE, span_name
from waybill.telemetry.failing import ERRORS, error_type
from waybill.telemetry.propagation import Carried

__all__ = ["Kind", "Spans", "linked", "suppressed"]

log = logging.getLogger("waybill.telemetry")

DEEPEST = 100
"""Frames of a traceback that are told."""
SUPPRESSED: Final = tuple(
    key for key in (getattr(contexts, "_SUPPRESS_INSTRUMENTATION_KEY", None), "suppress_instrumentation") if key
)
"""What instrumentations of client libraries look for: one key of the API, and one that older ones know."""

Values: TypeAlias = Mapping[str, str | int | bool]


class Kind:
    """One operation at one place: what its spans are called, and what they say that is the same for all of them."""

    __slots__ = ("attributes", "kind", "name")

    def __init__(self, kind: SpanKind, operation: str, place: Attributes, *, of: str | None = None) -> None:
        """of: the operation's type, where it has one that the conventions know."""
        self.kind = kind
        self.name = span_name(operation, place)
        self.attributes: Attributes = {OPERATION: operation, **({} if of is None else {TYPE: of}), **place}


class Spans:
    """Begins and ends them. What samplers, processors, exporters and propagators raise is logged once and decides nothing."""

    def __init__(self, tracer: Tracer, propagator: TextMapPropagator) -> None:
        self._start = tracer.start_span
        self._told = False
        """Whether it was logged that tracing fails."""
        self.carried = Carried(propagator, self._failed)
        self.marked: Collection[str] = ()
        """Names of headers and fields that are secret, in lower case."""

    def begin(
        self, kind: Kind, own: Values, *, parent: Context, links: Sequence[Link] = (), since: int | None = None
    ) -> Span:
        """own: what only this one says. since: when it began, in nanoseconds since the epoch, if not now."""
        return self.start(kind, {**kind.attributes, **own}, parent=parent, links=links, since=since)

    def start(
        self, kind: Kind, attributes: Values, *, parent: Context, links: Sequence[Link], since: int | None = None
    ) -> Span:
        """The same with all of its attributes, for where it is done for each message. Where it cannot be begun, one that stands
        for its parent: the trace is followed all the same."""
        try:
            return self._start(kind.name, parent, kind.kind, attributes, links, since)
        except Exception as error:  # noqa: BLE001 - whatever is plugged in there
            self._failed(error)
            return NonRecordingSpan(get_current_span(parent).get_span_context())

    def end(self, span: Span) -> None:
        try:
            span.end()
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    @contextmanager
    def during(self, kind: Kind) -> Generator[Span, None, None]:
        """A span of what the block does, and whatever is begun in it belongs to it."""
        span = self.begin(kind, {}, parent=contexts.get_current())
        token = contexts.attach(set_span_in_context(span))
        try:
            yield span
        except BaseException as error:
            self.fail(span, error)
            raise
        finally:
            contexts.detach(token)
            self.end(span)

    def _failed(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            trace = redact("".join(traceback.format_exception(error)))
            log.error("tracing fails, and spans or their contexts are missing; this is said once: %s", trace)

    def fail(self, span: Span, error: BaseException, messages: Sequence[Message] = ()) -> None:
        """It failed. What `messages` hold that is secret is in no text of it."""
        try:
            self._tell(span, error, messages)
        except Exception as lost:  # noqa: BLE001 - what has failed shall be seen by who judges it
            self._failed(lost)

    def _tell(self, span: Span, error: BaseException, messages: Sequence[Message]) -> None:
        if not span.is_recording():
            return
        name = error_type(error)
        secrets = [secret for message in messages for secret in secrets_of(message, self.marked)]
        text = shorten(redact(describe(error), secrets), MAX_DETAIL)
        stack = "".join(traceback.format_tb(error.__traceback__, limit=-DEEPEST))
        told = {
            "exception.type": name,
            "exception.message": text,
            "exception.stacktrace": shorten(redact(stack, secrets), MAX_STACK, keep_end=True),
        }
        span.set_attribute(ERROR, name)
        span.set_status(Status(StatusCode.ERROR, text))
        span.add_event("exception", told)

    def refuse(self, span: Span, answer: Refused | Unknown | Failed | Lost, why: str) -> None:
        """It failed, and nothing was raised."""
        span.set_attribute(ERROR, error_type(ERRORS[type(answer)]))
        span.set_status(Status(StatusCode.ERROR, shorten(redact(why), MAX_DETAIL)))


@contextmanager
def suppressed() -> Generator[None, None, None]:
    """Have client libraries' own instrumentations make no spans, also in tasks that are begun meanwhile."""
    current = contexts.get_current()
    token = contexts.attach(Context({**current, **dict.fromkeys(SUPPRESSED, True)}))
    try:
        yield
    finally:
        contexts.detach(token)


def linked(creations: Sequence[SpanContext]) -> list[Link]:
    return [Link(creation) for creation in creations if creation.is_valid]
