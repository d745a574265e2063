"""Metrics as Prometheus reads them."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from waybill import App, ConfigurationError, Settings, Topic
from waybill.telemetry.catalogue import APPLICATION, BUCKETS, EXPORTER
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.prometheus import Collector, exposition, exposition_of, name_of, serve
from waybill.telemetry.tally import Metric, Reading, Spread

LATER = Metric(name="waybill.some.wait", kind="histogram", unit="s", about="Seconds.", labels=("who",), bounds=BUCKETS)
MANY = Metric(name="waybill.some.things", kind="counter", unit="1", about="Things.", labels=("who", "error.type"))


class Given:
    def __init__(self, *readings: Reading) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Reading]:
        return self._readings


def test_a_histogram_has_the_advised_buckets_and_each_has_those_below_it() -> None:
    spread = Spread(BUCKETS)
    for value in (0.004, 0.005, 0.3, 99.0):
        spread.add(value)
    text, _ = exposition(Given(Reading(LATER, [(("me",), spread)])))("")
    (family,) = read_text(text.decode())
    assert family.name == "waybill_some_wait_seconds"
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert list(buckets) == [*(str(bound) for bound in BUCKETS), "+Inf"]
    assert (buckets["0.005"], buckets["0.25"], buckets["0.5"], buckets["10.0"], buckets["+Inf"]) == (2, 2, 3, 3, 4)
    rest = {sample.name: sample.value for sample in family.samples if "le" not in sample.labels}
    assert rest == {"waybill_some_wait_seconds_count": 4, "waybill_some_wait_seconds_sum": pytest.approx(99.309)}


def test_a_counter_ends_in_total_and_labels_that_are_empty_are_left_out() -> None:
    text, content_type = exposition(Given(Reading(MANY, [(("me", ""), 3.0), (("me", "Bad"), 1.0)])))("")
    assert b'waybill_some_things_total{who="me"} 3.0' in text
    assert b'waybill_some_things_total{error_type="Bad",who="me"} 1.0' in text
    assert content_type.startswith("text/plain")


def test_who_asks_for_openmetrics_gets_it() -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    text, content_type = exposition(Given(Reading(MANY, [(("me", ""), 3.0)])))(accept)
    assert content_type.startswith("application/openmetrics-text")
    (family,) = read_openmetrics(text.decode())
    assert (family.name, family.samples[0].value) == ("waybill_some_things", 3.0)


def test_names_are_those_that_opentelemetrys_exporters_make() -> None:
    names = {name_of(metric) for metric in (*APPLICATION, *EXPORTER)}
    assert len(names) == len({*APPLICATION, *EXPORTER})
    assert {
        "messaging_client_sent_messages_total",
        "messaging_client_consumed_messages_total",
        "messaging_client_operation_duration_seconds",
        "messaging_process_duration_seconds",
        "waybill_settled_messages_total",
        "waybill_dead_lettered_messages_total",
        "waybill_dlq_messages",
        "waybill_dlq_oldest_unresolved_age_seconds",
        "waybill_oldest_message_age_seconds",
        "waybill_circuit_transitions_total",
    } <= names


async def test_an_application_answers_with_its_own_metrics_or_with_what_it_knows_anyway() -> None:
    numbers = Topic("numbers", int)
    for instruments, counts in (([Metrics()], True), ([], False)):
        app = App("odd", settings=Settings(url="memory://"), instruments=instruments)
        app.consume(numbers)(_nothing)
        answer = exposition_of(app)
        async with app.running():
            text = answer("")[0].decode()
        assert 'waybill_consumer_up{destination="numbers",group="odd"} 1.0' in text
        assert (
            'waybill_settled_messages_total{destination="numbers",group="odd",outcome="acked"} 0.0' in text
        ) == counts


async def _nothing(_: int) -> None: ...


async def test_they_stand_in_a_registry_beside_others() -> None:
    registry, metrics = CollectorRegistry(), Metrics()
    app = App("odd", settings=Settings(url="memory://"), instruments=[metrics])
    registry.register(Collector(metrics))
    async with app.running():
        assert b"# TYPE waybill_settled_messages_total counter" in generate_latest(registry)


def test_who_scrapes_the_exporters_place_is_answered_until_it_is_left() -> None:
    with serve(Given(Reading(MANY, [(("me", ""), 3.0)])), "127.0.0.1", 0) as place:
        with urllib.request.urlopen(f"http://{place}/metrics", timeout=10) as answer:
            assert b'waybill_some_things_total{who="me"} 3.0' in answer.read()
        port = int(place.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match="another port"), serve(Given(), "127.0.0.1", port):
            pass
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://{place}/metrics", timeout=10)


LACKING = """
import sys
sys.modules[{lacking!r}] = None
try:
    import {module}
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("lacking", "module", "extra"),
    [
        ("prometheus_client", "waybill.telemetry.prometheus", "waybill[ops]"),
        ("opentelemetry", "waybill.telemetry.meter", "waybill[otel]"),
    ],
)
def test_without_its_extra_it_says_what_to_install(lacking: str, module: str, extra: str) -> None:
    code = LACKING.format(lacking=lacking, module=module)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("ConfigurationError")
    assert f"pip install '{extra}'" in said


def test_metrics_themselves_and_logs_need_nothing_that_is_not_there_anyway() -> None:
    code = (
        "import sys, waybill.telemetry.metrics, waybill.telemetry.logs, waybill.telemetry.exporting\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"opentelemetry", "prometheus_client", "starlette", "uvicorn"} & set(done.stdout.split())
