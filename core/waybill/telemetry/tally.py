"""Counting, at the cost of adding to an integer: what a metric is, and its values by labels.

Whoever reads may do so in another thread: values are only ever replaced, and what is read is at most one step old.
Pure, and nothing is imported for it. OpenTelemetry's own instruments take 20 times as long for each step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

__all__ = ["OTHER", "Count", "Metric", "Reading", "Series", "Spread", "total"]

OTHER = "_OTHER"
"""The value of every label beyond `MOST`, as OpenTelemetry has it for what is not listed."""
MOST = 1000
"""Combinations of labels that one metric has at most: a name somebody else chooses must not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric, under its OpenTelemetry name."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    """In UCUM: `s`, `{message}`, `1`."""
    about: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets, ascending; a value is in the first that is not below it."""


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Spread:
    """A histogram: how many values were in each bucket, the last for those above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


V = TypeVar("V")


class Series(Generic[V]):
    """The values of one metric, by its labels."""

    def __init__(self, metric: Metric, make: Callable[[tuple[str, ...]], V], *, most: int = MOST) -> None:
        """`make`: the first value for new labels."""
        self.metric = metric
        self._make = make
        self._most = most
        self._values: dict[tuple[str, ...], V] = {}

    def of(self, *labels: str) -> V:
        """The value for these labels, made at the first need of it. Beyond the bound: one for all others."""
        found = self._values.get(labels)
        if found is None:
            if len(self._values) >= self._most:
                labels = (OTHER,) * len(labels)
            found = self._values.setdefault(labels, self._make(labels))
        return found

    def items(self) -> list[tuple[tuple[str, ...], V]]:
        """All of them, as they are now."""
        return list(self._values.items())


class Reading(NamedTuple):
    """A metric and its values at one moment."""

    metric: Metric
    values: Sequence[tuple[tuple[str, ...], float]] | Sequence[tuple[tuple[str, ...], Spread]]


def total(readings: Iterable[Reading], name: str, **labels: str) -> float:
    """The sum of a metric's values that have these labels; of a histogram, how many values it has. Dots are written `_`."""
    found = 0.0
    for metric, values in readings:
        if metric.name == name:
            names = [label.replace(".", "_") for label in metric.labels]
            for at, value in values:
                if labels.items() <= dict(zip(names, at, strict=True)).items():
                    found += sum(value.counts) if isinstance(value, Spread) else value
    return found
