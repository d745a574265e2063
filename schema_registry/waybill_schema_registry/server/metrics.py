"""What the server has done, as Prometheus reads it (text format 0.0.4). A worker tells of itself alone."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

__all__ = ["TEXT", "Metrics"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""


class Metrics:
    """Operations are those of the table of routes, so labels are few whatever clients ask for."""

    def __init__(self, worker: int = 1) -> None:
        self._worker = worker
        self._requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """One request that was answered."""
        self._requests[operation, status] += 1
        buckets = self._buckets.get(operation)
        if buckets is None:
            buckets = self._buckets[operation] = [0] * (len(BOUNDS) + 1)
        buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[operation] += seconds

    def gauge(self, name: str, says: str, value: Callable[[], float]) -> None:
        """A value that is asked for when the metrics are."""
        self._gauges[name] = (says, value)

    def text(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        worker = f'worker="{self._worker}"'
        name = "waybill_registry_requests_total"
        yield f"# HELP {name} Requests that were answered."
        yield f"# TYPE {name} counter"
        for (operation, status), count in sorted(self._requests.items()):
            yield f'{name}{{operation="{operation}",status="{status}",{worker}}} {count}'
        name = "waybill_registry_request_seconds"
        yield f"# HELP {name} From the head of a request to its answer."
        yield f"# TYPE {name} histogram"
        for operation, buckets in sorted(self._buckets.items()):
            sum_ = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
                sum_ += count
                yield f'{name}_bucket{{operation="{operation}",{worker},le="{bound}"}} {sum_}'
            yield f'{name}_sum{{operation="{operation}",{worker}}} {self._seconds[operation]:.6f}'
            yield f'{name}_count{{operation="{operation}",{worker}}} {sum_}'
        for name, (says, value) in sorted(self._gauges.items()):
            yield f"# HELP {name} {says}"
            yield f"# TYPE {name} gauge"
            yield f"{name}{{{worker}}} {value():g}"
