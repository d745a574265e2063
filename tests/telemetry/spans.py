"""Spans, kept in memory, and told so that two runs of the same tell the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import Tracer

__all__ = ["Spans"]

VARYING = {
    "messaging.message.id": "<message>",
    "messaging.message.conversation_id": "<message>",
    "messaging.destination.partition.id": "<partition>",
    "messaging.kafka.offset": "<offset>",
    "messaging.rabbitmq.message.delivery_tag": "<tag>",
    "messaging.rabbitmq.destination.routing_key": "<partition>",
    "server.address": "<host>",
    "server.port": "<port>",
    "aws.sqs.queue.url": "<url>",
    "aws.sns.topic.arn": "<arn>",
    "waybill.redrive.id": "<redrive>",
}
"""What is another one in each run."""


class Spans:
    """What one provider's tracers have ended, in that order."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    @property
    def tracer(self) -> Tracer:
        """The service's own, beside ours."""
        return self.provider.get_tracer("tests")

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self._kept.get_finished_spans()

    def named(self, beginning: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name.startswith(beginning)]

    def one(self, beginning: str) -> ReadableSpan:
        (span,) = self.named(beginning)
        return span

    def clear(self) -> None:
        self._kept.clear()

    def told(self, tag: str) -> list[dict[str, Any]]:
        """As JSON can hold them, sorted. tag: what begins the names of the test's topics."""
        names = {span.context.span_id: _plain(span.name, tag) for span in self.all}
        return sorted((_told(span, names, tag) for span in self.all), key=repr)


def _told(span: ReadableSpan, names: dict[int, str], tag: str) -> dict[str, Any]:
    assert span.attributes is not None
    return {
        "name": _plain(span.name, tag),
        "kind": span.kind.name,
        "status": span.status.status_code.name,
        "parent": None if span.parent is None else names.get(span.parent.span_id, "(before)"),
        "links": sorted(_links(span, names, tag), key=repr),
        "events": [event.name for event in span.events],
        "attributes": {
            name: VARYING.get(name) or _plain(value, tag) for name, value in sorted(span.attributes.items())
        },
    }


def _links(span: ReadableSpan, names: dict[int, str], tag: str) -> Iterator[dict[str, Any]]:
    for link in span.links:
        told = {
            name: VARYING.get(name) or _plain(value, tag) for name, value in sorted((link.attributes or {}).items())
        }
        yield {"to": names.get(link.context.span_id, "(before)"), **({"attributes": told} if told else {})}


def _plain(value: Any, tag: str) -> Any:
    """Without what is another one in each run."""
    if not isinstance(value, str):
        return value
    written = {tag, tag.replace("-", "_-").replace(".", "-"), tag.replace("_", "__").replace("-", "_-")}
    for form in sorted(written, key=len, reverse=True):
        value = value.replace(form, "test")
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>", value)
