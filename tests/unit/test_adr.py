"""`waybill adr broker`: records of five applications as they should be, and what follows from the options.

WRITE_RECORDS=1 writes tests/unit/records anew: read what changed before it is committed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.docs.test_documents import ROOT, WAYBILL
from waybill import App, Topic, TopicPattern
from waybill.adapter import Capabilities
from waybill.calling import Calls
from waybill.cli.adr import CANDIDATES
from waybill.cli.program import program
from waybill.errors import ConfigurationError
from waybill.evidence import evidence, shown
from waybill.loading import AdapterContext, open_adapter, use_adapter
from waybill.topology import TopicSpec, Topology

RECORDS = Path(__file__).with_name("records")
GOLDEN = {
    "orders": ["--app", "examples.orders.service:app", "--rate", "50", "--size", "400"],
    "fanout": ["--app", "examples.fanout.mail:app", "--machines", "3", "--decide", "rabbitmq"],
    "flights": ["--app", "examples.flights.service:app", "--machines", "1", "--rate", "200", "--size", "300"],
    "discord": [
        *("--app", "examples.discord.service:app", "--decide", "kafka"),
        *("--because", "its history will be wanted, and the handlers can skip what they have done"),
    ],
    "batch": ["--app", "examples.batch.service:app", "--largest", "2000000", "--delay", "2h", "--price", "0.4"],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_record_of_an_application_is_as_it_was_read_and_kept(name: str, tmp_path: Path) -> None:
    kept, made = RECORDS / f"{name}.md", tmp_path / "record.md"
    settings = {key: value for key, value in os.environ.items() if not key.startswith("WAYBILL_")}
    command = [str(WAYBILL), "adr", "broker", *GOLDEN[name], "--date", "2026-11-21", "--out", str(made)]
    ran = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    if os.environ.get("WRITE_RECORDS"):
        kept.write_text(made.read_text())
    assert made.read_text() == kept.read_text(), "WRITE_RECORDS=1 writes it anew, after you have read the difference"


app = App("shop")
orders = Topic("orders", str, key=lambda text: text)


@app.consume(orders, ordered=True)
async def handle(_: str) -> None: ...


mixed = App("mixed")


@mixed.consume(orders, Topic("orders.in-order", str, key=lambda text: text), ordered=True)
async def keep(_: str) -> None: ...


greedy = App("greedy")


@greedy.consume(Topic("kept", str, retention=60, max_length=9, dedup_window=60), start="earliest")
@greedy.consume(TopicPattern("any.*", str))
@greedy.consume(orders, group="relaxed", ordered=True, on_failure="relax", where={"region": "eu"})
async def grab(_: str) -> None: ...


@dataclass
class Paid:
    """A broker that is paid by the call, and keeps no order."""

    inner: Any
    asked: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    @property
    def claims(self) -> Capabilities:
        return Capabilities(broker="Paid", ordered=False, durable=True, relaxes=False)

    def narrowed(self, can: Capabilities, topic: TopicSpec) -> Capabilities:
        """Topics whose name says so are kept in order."""
        return msgspec.structs.replace(can, ordered=topic.name.endswith("in-order"))

    def calls(self, topology: Topology, *, rate: float, size: int) -> Sequence[Calls]:
        self.asked.append((rate, size))
        return [
            Calls(what=f"SendBatch, to {topic.name}", per_million=100_000, idle_per_day=4320)
            for topic in topology.topics
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture
def paid() -> Iterator[list[Paid]]:
    """Adapters of `paid://`, as they are opened."""
    opened: list[Paid] = []

    def open_paid(_url: str, context: AdapterContext) -> Any:
        opened.append(Paid(open_adapter("memory://", context)))
        return opened[-1]

    use_adapter("paid", open_paid)
    return opened


def adr(capsys: pytest.CaptureFixture[str], *arguments: str, of: str = "app") -> str:
    command = ["adr", "broker", "--app", f"tests.unit.test_adr:{of}", "--date", "2026-11-21", *arguments]
    program(command, standalone_mode=False)
    return capsys.readouterr().out


def section(record: str, heading: str) -> str:
    """What stands below a heading."""
    return record.partition(f"\n{heading}\n")[2].partition("\n#")[0]


def rows(capsys: pytest.CaptureFixture[str], *arguments: str, of: str = "app") -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(adr(capsys, "--json", *arguments, of=of))}


def test_it_decides_nothing_unless_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    record = adr(capsys)
    assert record.startswith("---\nstatus: proposed\ndate: 2026-11-21\n---\n")
    assert "Left to the architect" in section(record, "## Decision Outcome")
    decided = adr(capsys, "--decide", "kafka", "--because", "we run it already")
    assert decided.startswith("---\nstatus: accepted\n")
    assert 'Chosen option: "Kafka", because we run it already.' in section(decided, "## Decision Outcome")
    assert "waiting for a retry" in section(decided, "### Consequences")
    assert [name for name, row in rows(capsys, "--decide", "kafka").items() if row["chosen"]] == ["kafka"]


def test_what_is_asked_for_and_refused_is_bad_with_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, of="greedy")
    rabbit = found["rabbitmq"]
    assert not rabbit["fits"]
    assert [gap for gap in rabbit["gaps"] if "keeps nothing that was handled" in gap]
    assert {one["need"] for one in rabbit["served"] if one["how"] == "refused"} == {
        "history",
        "topics by pattern",
        "one message an id",
    }
    assert found["embedded"]["fits"]
    assert "a limited length" in {one["need"] for one in found["kafka"]["served"] if one["how"] == "refused"}
    filters = {
        row["name"]: one["how"] for row in found.values() for one in row["served"] if one["need"] == "header filters"
    }
    assert (filters["embedded"], filters["kafka"]) == ("native", "emulated")
    record = adr(capsys, "--decide", "rabbitmq", of="greedy")
    assert "it was decided so, though something has to change for it" in record
    assert "Bad, because something has to change first: kept has a retention" in section(record, "### Consequences")


def test_what_is_said_of_the_load_is_held_against_the_limits(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, "--largest", str(2 << 20), "--delay", "400d", "--machines", "2")
    assert [gap for gap in found["kafka"]["gaps"] if "carries 1 MiB, and the largest message has 2 MiB" in gap]
    assert [gap for gap in found["rabbitmq"]["gaps"] if "delays by 311 d at most" in gap]
    assert [gap for gap in found["embedded"]["gaps"] if "belongs to one machine" in gap]
    modest = rows(capsys, "--largest", str(100 << 10), "--delay", "300d", "--machines", "1")
    assert [name for name, row in modest.items() if not row["fits"]] == ["sqs"], "SNS delays nothing"


def test_another_broker_is_weighed_and_its_calls_are_counted(
    paid: list[Paid], capsys: pytest.CaptureFixture[str]
) -> None:
    load = ("--consider", "paid://here", "--rate", "10", "--size", "2000")
    record = adr(capsys, *load, "--price", "0.5")
    assert paid[-1].asked == [(10, 2000)]
    about = section(record, "### Paid")
    assert "SendBatch, to orders: 100,000 a million messages, and 4,320 a day while nothing happens" in about
    assert "10 messages a second make 2.7 million calls in 30 days, which cost 1.36 at 0.5 a million" in about
    assert "order by key: messages of one key come in any order (not shown by the contracts)" in about
    (gap,) = rows(capsys, *load)["tests"]["gaps"]
    assert gap == "orders/shop is consumed ordered, and Paid keeps no order over several members: drop ordered=True"


def test_a_need_of_several_topics_is_served_as_by_the_one_that_is_served_least(
    paid: list[Paid], capsys: pytest.CaptureFixture[str]
) -> None:
    order = next(
        one
        for one in rows(capsys, "--consider", "paid://here", of="mixed")["tests"]["served"]
        if one["need"] == "order by key"
    )
    assert order["how"] == "refused"
    assert order["by"] == "orders/mixed is consumed in order; orders.in-order/mixed is consumed in order"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--decide", "mongodb"], "that is none of the options: embedded, rabbitmq, kafka"),
        (["--date", "soon"], "write it as YYYY-MM-DD"),
        (["--delay", "long"], "--delay"),
        (["--consider", "mongodb://here"], "no adapter for mongodb://"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match=said):
        adr(capsys, *arguments)


def test_an_application_that_asks_for_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="names no topic"):
        program(["adr", "broker", "--app", "tests.unit.idle:app"], standalone_mode=False)
    assert capsys.readouterr().out == ""


def test_a_file_is_replaced_only_when_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "0007.md"
    assert adr(capsys, "--out", str(out)) == ""
    assert out.read_text().startswith("---\nstatus: proposed")
    with pytest.raises(ConfigurationError, match="--force"):
        adr(capsys, "--out", str(out), "--decide", "kafka")
    assert out.read_text().startswith("---\nstatus: proposed")
    adr(capsys, "--out", str(out), "--decide", "kafka", "--force")
    assert out.read_text().startswith("---\nstatus: accepted")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        adr(capsys, "--out", str(tmp_path / "nowhere" / "x.md"))


def test_the_evidence_names_promises_results_and_brokers() -> None:
    assert evidence("kafka", ["O01", "O02"]) == "O01, O02 shown on kafka 4.3"
    rabbit = evidence("rabbitmq", ["O01", "D12"])
    assert rabbit.startswith(
        "O01 shown on rabbitmq 4.0 and rabbitmq 4.3; D12 partial on rabbitmq 4.0 and rabbitmq 4.3: "
    )
    assert evidence("unheard", ["O01"]) == "not shown by the contracts"
    assert evidence("kafka", ["X99"]) == "X99 not shown on kafka 4.3"
    assert set(shown().columns) >= {"embedded", "rabbitmq", "kafka"}


def test_all_candidates_are_either_weighed_or_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    record = adr(capsys)
    considered, absent = section(record, "## Considered Options").count("* "), record.count("Not considered: ")
    assert considered + absent == len(CANDIDATES)
