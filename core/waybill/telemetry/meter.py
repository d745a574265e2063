"""The same metrics through OpenTelemetry. Needs the extra `otel`.

Counters and gauges are read when the meter's reader asks, and cost nothing in between. Its histograms cannot be read so: each
value is recorded there as well, which takes it about 7 µs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from waybill.errors import ConfigurationError
from waybill.telemetry.catalogue import APPLICATION
from waybill.telemetry.counting import Tallies
from waybill.telemetry.tally import Metric, Reading, Series, Spread

try:
    from opentelemetry.metrics import CallbackOptions, Observation
except ImportError as error:
    raise ConfigurationError(
        "metrics through OpenTelemetry need their extra. Install it with: pip install 'waybill[otel]'"
    ) from error

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter

__all__ = ["measured"]

log = logging.getLogger("waybill.telemetry")

ROUND = 1.0
"""Seconds that a reader takes at most to ask for all; what was collected before is too old."""


def measured(meter: Meter, collect: Callable[[], Iterable[Reading]]) -> Tallies:
    """What is counted shall be kept in these, and shows in the meter with all else that `collect` gives."""
    shared = Shared(collect)
    for metric in APPLICATION:
        if metric.kind != "histogram":
            make = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            make(metric.name, [_observe(metric, shared)], unit=metric.unit, description=metric.about)
    return Tallies(spread=lambda metric: _recorded(meter, metric))


class Recorded(Spread):
    """A histogram that OpenTelemetry has as well."""

    __slots__ = ("_attributes", "_histogram", "_told")

    def __init__(self, bounds: tuple[float, ...], histogram: Histogram, attributes: dict[str, str]) -> None:
        super().__init__(bounds)
        self._histogram = histogram
        self._attributes = attributes
        self._told = False
        """Whether it was logged that recording fails."""

    def add(self, value: float) -> None:
        super().add(value)
        try:
            self._histogram.record(value, self._attributes)
        except Exception:  # whatever is plugged in there decides nothing about a message
            if not self._told:
                self._told = True
                log.exception("OpenTelemetry's histogram takes no values; this is said once")


def _recorded(meter: Meter, metric: Metric) -> Series[Spread]:
    histogram = meter.create_histogram(
        metric.name,
        unit=metric.unit,
        description=metric.about,
        explicit_bucket_boundaries_advisory=metric.bounds,
    )
    return Series(metric, lambda labels: Recorded(metric.bounds, histogram, _attributes(metric, labels)))


class Shared:
    """One collection for all instruments that a reader asks one after the other. May be used in any thread."""

    def __init__(self, collect: Callable[[], Iterable[Reading]]) -> None:
        self._collect = collect
        self._left: dict[str, Reading | None] = {}
        """What has been collected and not been asked for."""
        self._until = 0.0

    def reading(self, metric: Metric) -> Reading | None:
        """Each is told once: who asks again begins another round."""
        left = self._left
        if metric.name not in left or monotonic() > self._until:
            left = dict.fromkeys(each.name for each in APPLICATION)
            left |= {reading.metric.name: reading for reading in self._collect()}
            self._left, self._until = left, monotonic() + ROUND
        return left.pop(metric.name, None)


def _observe(metric: Metric, shared: Shared) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        reading = shared.reading(metric)
        for labels, value in () if reading is None else reading.values:
            if not isinstance(value, Spread):
                yield Observation(value, _attributes(metric, labels))

    return observe


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in zip(metric.labels, labels, strict=True) if value}
