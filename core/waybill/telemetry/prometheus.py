"""Metrics in Prometheus' words: names with underscores, seconds, `_total`. Needs the extra `ops`: prometheus-client."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol, TypeAlias

from waybill.errors import ConfigurationError
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.tally import Metric, Reading, Spread

try:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector as Base
except ImportError as error:
    raise ConfigurationError(
        "metrics for Prometheus need their extra. Install it with: pip install 'waybill[ops]'"
    ) from error

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from waybill.app import App

__all__ = ["Collector", "Exposition", "Readable", "exposition", "exposition_of", "name_of", "serve"]

Exposition: TypeAlias = Callable[[str], tuple[bytes, str]]
"""From a request's `Accept` header to the answer's body and its content type. Quick; may be called in any thread."""


class Readable(Protocol):
    """What can be read: `Metrics`, or the figures of an exporter."""

    def collect(self) -> Iterable[Reading]: ...


class Collector(Base):
    """All that `source` has, for a registry of yours: `prometheus_client.REGISTRY.register(Collector(metrics))`."""

    def __init__(self, source: Readable) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        for reading in self._source.collect():
            family = _family(reading)
            family.samples = [sample._replace(labels=_given(sample.labels)) for sample in family.samples]
            yield family

    def describe(self) -> Iterable[Family]:
        """Names are not looked for when it is registered: nothing may run yet."""
        return ()


def exposition(source: Readable) -> Exposition:
    """What answers a scrape with all that `source` has."""
    registry = CollectorRegistry()
    registry.register(Collector(source))

    def answer(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return answer


def exposition_of(app: App) -> Exposition:
    """The same for the `Metrics` among the application's instruments; without any it answers with those that cost nothing
    while messages are handled: circuits, consumers, what is held."""
    found = next((each for each in app.instruments if isinstance(each, Metrics)), None)
    return exposition(Metrics.bystander(app) if found is None else found)


@contextmanager
def serve(source: Readable, host: str, port: int) -> Generator[str]:
    """Answer scrapes in a thread while the block lasts; gives the place as `host:port`. port 0: a free one.

    Raises `ConfigurationError` where nobody can listen.
    """
    registry = CollectorRegistry()
    registry.register(Collector(source))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(f"nothing can listen on {host}:{port}: {error}. Choose another port") from error
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def name_of(metric: Metric) -> str:
    """Its name here, as OpenTelemetry's exporters make it: with its unit, and `_total` where it only grows."""
    name = metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
    return f"{name}_total" if metric.kind == "counter" else name


def _family(reading: Reading) -> Family:
    metric, values = reading
    name, labels = name_of(metric), [label.replace(".", "_") for label in metric.labels]
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.about, labels=labels)
        for at, value in values:
            if isinstance(value, Spread):
                histogram.add_metric(at, _buckets(value), value.total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.about, labels=labels)
    for at, value in values:
        if not isinstance(value, Spread):
            family.add_metric(at, value)
    return family


def _given(labels: Mapping[str, str]) -> dict[str, str]:
    """An empty label is none, and would be told of each bucket."""
    return {name: value for name, value in labels.items() if value}


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in spread.bounds), "+Inf"]
    return list(zip(bounds, accumulate(list(spread.counts)), strict=True))
