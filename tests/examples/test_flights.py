"""The flights example: the whole demo on a part of the data, and the checks it relies on, given planted faults."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from examples.flights import checks  # noqa: E402 - `examples` is not installed
from examples.flights.checks import Published  # noqa: E402
from examples.flights.expected import expect, flights  # noqa: E402
from examples.flights.journal import Entry  # noqa: E402
from examples.flights.projection import Projection, read_aircraft, read_alerts  # noqa: E402
from examples.flights.report import Verdict  # noqa: E402
from examples.flights.traces import Span, drawn, read_spans, richest  # noqa: E402


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The demo, with `folder` for its temporary files."""
    return subprocess.Popen(
        [sys.executable, "-m", "examples.flights.demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_with(text: str) -> list[str]:
    """Command lines and environments of this machine that hold `text` (Linux)."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            held = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in held:
            found.append(held.decode(errors="replace"))
    return found


@pytest.mark.parametrize("codec", ["json", "avro"])
def test_the_demo_holds_every_check_when_a_worker_is_killed(tmp_path: Path, codec: str) -> None:
    demo = start(tmp_path, "--limit", "2000", "--codec", codec)
    output, _ = demo.communicate(timeout=110)
    assert demo.returncode == 0, output
    assert "✗" not in output
    assert "was killed (SIGKILL)" in output
    rows = [line.strip("│ ").split("│") for line in output.splitlines() if line.startswith("│")]
    table = {name.strip(): [cell.strip() for cell in cells] for name, *cells in rows}
    assert table["published"] == ["2,000", "2,000", "✓"]
    assert table["handled"] == ["1,996", "1,996", "✓"]
    assert table["retried"] == ["67", "67", "✓"]
    assert table["dead-lettered: no tail number"] == ["4", "4", "✓"]
    assert table["aircraft.delayed events, over an hour"] == ["66", "66", "✓"]
    for nothing in ("lost", "out of order", "applied twice", "left on the bus"):
        assert table[nothing] == ["0", "0", "✓"]
    assert table["workers, the killed one included"] == ["3", "3", "✓"]
    assert "process flights.departures" in output.partition("the way of one of them")[2]
    assert "enrichment" in output.partition("$ waybill circuit list")[2]
    assert 'outcome="acked"' in output
    assert "no tail number" in output.partition("$ waybill dlq groups")[2]
    assert "Three things to try next" in output
    assert list(tmp_path.iterdir()) == []
    assert processes_with(str(tmp_path)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_takes_its_processes_with_it_when_it_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    demo = start(tmp_path)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*/journal/*.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=40)
    assert demo.returncode == 128 + number, output
    assert "Traceback" not in output
    assert processes_with(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the way of one message


def span(name: str, ident: str, parent: str | None = None, *, trace: str = "t", error: str | None = None) -> Span:
    began = int(ident) * 1_000_000_000
    above = None if parent is None else (trace, parent)
    return Span(
        name=name, service="delays", pid=7, at=(trace, ident), parent=above, links=[], began=began, ended=began + 5_000_000,
        error=error,
    )  # fmt: skip


def shown(trace: list[Span]) -> list[str]:
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(drawn(trace))
    return captured.get().splitlines()


def test_the_way_of_a_message_is_drawn() -> None:
    trace = [
        span("create flights", "0"),
        span("process flights", "1", "0", error="examples.Unavailable"),
        span("process flights", "2", "0"),
        span("send delays", "3", "2"),
    ]
    assert shown(trace) == [
        "trace t",
        "└── create flights  delays 7  +0.000 s  5.0 ms",
        "    ├── process flights  Unavailable  delays 7  +1.000 s  5.0 ms",
        "    └── process flights  delays 7  +2.000 s  5.0 ms",
        "        └── send delays  delays 7  +3.000 s  5.0 ms",
    ]


def test_what_a_killed_worker_did_not_write_is_a_gap() -> None:
    assert shown([span("create flights", "0"), span("ack flights", "5", "4")])[2].startswith("└── ack flights")


def test_the_trace_with_the_most_to_see_is_shown() -> None:
    plain = [span("create", "0", trace="a"), span("process", "1", "0", trace="a")]
    failed = [
        span("create", "0", trace="b"),
        span("process", "1", "0", trace="b", error="E"),
        span("process", "2", "0", trace="b"),
    ]
    headless = [
        span("process", "1", "0", trace="c"),
        span("send", "2", "1", trace="c"),
        span("ack", "3", "1", trace="c"),
    ]
    assert richest([*plain, *failed, *headless]) == failed
    assert richest([]) == []


def test_a_span_that_was_half_written_is_not_read(tmp_path: Path) -> None:
    line = json.dumps(asdict(span("create", "0")))
    (tmp_path / "7.jsonl").write_text(f"{line}\n{line[:30]}")
    assert read_spans(tmp_path) == [span("create", "0")]
    assert read_spans(tmp_path / "not there") == []


# ---------------------------------------------------------------- the loop


def test_the_file_is_as_its_note_says() -> None:
    departures = flights()
    expected = expect(departures)
    assert len({departure.flight for departure in departures}) == expected.published == 27_004
    assert (expected.handled, expected.rejected, len(expected.aircraft)) == (26_849, 155, 3_148)
    assert sum(departure.delay is None for departure in departures) == 521
    assert departures == sorted(departures, key=lambda departure: departure.scheduled)


def test_the_loop_and_the_projection_agree(tmp_path: Path) -> None:
    projection = Projection(tmp_path / "projection.db")
    some = flights(500)
    for number, departure in enumerate(some):
        if departure.tail is not None:
            carried_over = projection.follow(str(number), departure.tail, departure.delay)
            if carried_over > 60:
                projection.alert(f"{number}-alert", departure.flight, carried_over)
    assert read_aircraft(tmp_path / "projection.db") == expect(some).aircraft
    assert read_alerts(tmp_path / "projection.db") == expect(some).alerts


def test_a_cancelled_flight_takes_no_delay_over_and_passes_none_on(tmp_path: Path) -> None:
    projection = Projection(tmp_path / "projection.db")
    delays = [90, None, 70, -5, 80]
    assert [projection.follow(str(n), "N1", delay) for n, delay in enumerate(delays)] == [0, 0, 0, 70, 0]


def test_a_message_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    projection = Projection(tmp_path / "projection.db")
    projection.follow("first", "N1", 90)
    assert projection.follow("second", "N1", 70) == 90
    before = read_aircraft(tmp_path / "projection.db")
    assert projection.follow("second", "N1", 70) == 90
    projection.alert("alert", "AA1", 70)
    projection.alert("alert", "AA1", 70)
    assert read_aircraft(tmp_path / "projection.db") == before == {"N1": (2, 90)}
    assert read_alerts(tmp_path / "projection.db") == [("AA1", 70)]


# ---------------------------------------------------------------- the checks find what they are for

PUBLISHED = [
    Published("m1", "N1", "AA1"),
    Published("m2", "N2", "AA2"),
    Published("m3", "N1", "AA3"),
    Published("m4", None, "AA4"),
]


def handling(id_: str, at: int, *, what: str = "handled", attempt: int = 1, pid: int = 1, took: int = 5) -> list[Entry]:
    """One handling: its start at `at` and its end `took` later."""
    return [
        Entry(what="started", topic="flights", id=id_, attempt=attempt, at=at, pid=pid),
        Entry(what=what, topic="flights", id=id_, attempt=attempt, at=at + took, pid=pid),
    ]


GOOD = [
    *handling("m1", 0, what="failed"),
    *handling("m2", 10),
    *handling("m1", 20, attempt=2),
    *handling("m3", 30),
    *handling("m4", 40, what="rejected"),
]
COUNTED = {"N1": 2, "N2": 1}


def test_the_checks_are_content_with_a_good_run() -> None:
    assert checks.lost(PUBLISHED, GOOD, {"m4"}) == []
    assert checks.out_of_order(PUBLISHED, GOOD) == []
    assert checks.redelivered(GOOD) == []
    assert checks.applied_twice(PUBLISHED, GOOD, COUNTED) == []


def test_a_lost_message_is_found() -> None:
    assert checks.lost(PUBLISHED, [entry for entry in GOOD if entry.id != "m2"], {"m4"}) == ["AA2"]


def test_a_message_that_only_began_is_lost() -> None:
    assert checks.lost(PUBLISHED, [entry for entry in GOOD if entry.what == "started"], {"m4"}) == ["AA1", "AA2", "AA3"]


def test_a_rejected_message_that_is_not_among_the_dead_letters_is_lost() -> None:
    assert checks.lost(PUBLISHED, GOOD, set()) == ["AA4"]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([*handling("m3", 0), *handling("m1", 10)], id="the other way round"),
        pytest.param([*handling("m1", 0, took=20), *handling("m3", 10, pid=2)], id="at the same time"),
        pytest.param(
            [*handling("m1", 0, what="failed"), *handling("m3", 10), *handling("m1", 20, attempt=2)],
            id="while the first waited for its retry",
        ),
        pytest.param(
            [*handling("m3", 0, what="failed"), *handling("m1", 10), *handling("m3", 20, attempt=2)],
            id="although the second failed at first",
        ),
    ],
)
def test_flights_of_one_aircraft_out_of_order_are_found(entries: list[Entry]) -> None:
    assert checks.out_of_order(PUBLISHED, entries) == ["AA3 of N1 before AA1"]


def test_a_later_handling_of_the_same_message_is_not_out_of_order() -> None:
    entries = [*handling("m1", 0), *handling("m3", 10, pid=1), *handling("m1", 20, pid=2), *handling("m3", 30, pid=2)]
    assert checks.out_of_order(PUBLISHED, entries) == []


def test_a_redelivery_is_found_and_the_process_that_had_it() -> None:
    again = checks.redelivered([*GOOD, *handling("m2", 50, pid=2)])
    assert [(entry.id, entry.pid) for entry in again] == [("m2", 1)]


def test_what_a_shutdown_gave_back_is_no_redelivery() -> None:
    assert checks.redelivered([*handling("m1", 0, what="cancelled"), *handling("m1", 10, pid=2)]) == []


def test_a_handler_that_runs_is_seen() -> None:
    entries = [*GOOD, handling("m2", 50, pid=2)[0]]
    assert (checks.running(entries, 1), checks.running(entries, 2)) == (0, 1)


def test_an_effect_that_happened_twice_is_found() -> None:
    assert checks.applied_twice(PUBLISHED, GOOD, {**COUNTED, "N1": 3}) == [("N1", 1)]


def test_a_difference_is_named() -> None:
    verdict = Verdict("")
    verdict.same("lost", 0, 0)
    verdict.at_most("redelivered", 5, 5)
    assert verdict.faults == []
    verdict.same("lost", 1, 0, ["AA2"])
    verdict.same("alerts", 3, 3, ["AA1", "AA2"])
    verdict.at_most("redelivered", 6, 5)
    assert verdict.faults == [
        "lost: 1, expected 0\n    AA2",
        "alerts: 3, expected 3\n    AA1\n    AA2",
        "redelivered: 6, expected at most 5",
    ]
