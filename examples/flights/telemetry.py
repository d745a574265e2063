"""What is seen of a run: the spans of every process, each in a file of its own, and its metrics.

A service has an exporter to its collector here (`opentelemetry-exporter-otlp`); a demo that needs nothing installed has files.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import SpanContext

from waybill.instruments import Instrument
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.tracing import Tracing

__all__ = ["instruments"]

SHARE = 0.05
"""Of the departures, those whose way is kept: enough to find one of every kind."""
DELAY = 200
"""Milliseconds until spans are written: what a worker has not written when it is killed is lost."""


def instruments(service: str, folder: Path) -> list[Instrument]:
    """For `App(instruments=…)`. folder: of the files, which are made when there is something to write."""
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(SHARE), resource=Resource({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(SpanFile(folder), schedule_delay_millis=DELAY))
    return [Tracing(provider), Metrics()]


class SpanFile(SpanExporter):
    """A line a span, in a file a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(_written(span)) + "\n" for span in spans)
        with (self._folder / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(lines)
        return SpanExportResult.SUCCESS


def _written(span: ReadableSpan) -> dict[str, object]:
    attributes = span.attributes or {}
    return {
        "name": span.name,
        "service": span.resource.attributes["service.name"],
        "pid": os.getpid(),
        "at": _place(span.get_span_context()),
        "parent": _place(span.parent),
        "links": [_place(link.context) for link in span.links],
        "began": span.start_time,
        "ended": span.end_time,
        "error": attributes.get("error.type"),
        "messages": attributes.get("messaging.batch.message_count", 1),
    }


def _place(context: SpanContext | None) -> tuple[str, str] | None:
    """Its trace and itself."""
    return None if context is None else (f"{context.trace_id:032x}", f"{context.span_id:016x}")
