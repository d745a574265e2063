"""The ledger: what is written down, compared, and shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from waybill_contracts.ledger import NOT_YET, Result, Row, differences, page, read, write
from waybill_contracts.proving import load_all
from waybill_contracts.registry.proving import load_promises

LEDGER = Path(__file__).parents[2] / "docs" / "conformance.json"
PASS = Row(id="A06", broker="sqlite", version="3", provider="file")


def row(**changed: object) -> Row:
    return Row(**{"id": "A06", "broker": "sqlite", "version": "3", "provider": "file", **changed})  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [row(id="B1", result=Result.PARTIAL, note="weaker"), PASS]
    write(tmp_path / "ledger.json", rows)
    assert read(tmp_path / "ledger.json") == sorted(rows)


@pytest.mark.parametrize(
    ("kept", "seen", "told"),
    [
        ([PASS], [PASS], []),
        ([PASS], [row(version="4", provider="url")], []),
        (
            [PASS],
            [row(result=Result.PARTIAL, note="weaker")],
            ["A06 on sqlite: written down as pass, seen as partial weaker"],
        ),
        ([row(result=Result.PARTIAL, note="at times twice")], [PASS], []),
        ([row(result=Result.PARTIAL, note="weaker; at times twice")], [row(result=Result.PARTIAL, note="weaker")], []),
        (
            [row(result=Result.PARTIAL, note="weaker; at times twice")],
            [PASS],
            ["A06 on sqlite: written down as partial, seen as pass "],
        ),
        (
            [PASS],
            [row(result=Result.PARTIAL, note="at times twice")],
            ["A06 on sqlite: written down as pass, seen as partial at times twice"],
        ),
        ([], [PASS], ["A06 on sqlite: is not written down"]),
        ([PASS, row(id="A04")], [PASS], ["A04 on sqlite: was not shown"]),
        ([PASS, row(broker="kafka")], [PASS], []),
    ],
)
def test_what_differs_is_told(kept: list[Row], seen: list[Row], told: list[str]) -> None:
    assert differences(kept, seen) == told


def test_each_promise_is_written_down_for_each_broker() -> None:
    rows = read(LEDGER)
    for broker in {row.broker for row in rows}:
        shown = load_promises() if broker.startswith("store: ") else load_all()
        assert {row.id for row in rows if row.broker == broker} == set(shown)


def test_the_page_is_made_of_the_ledger() -> None:
    load_all()
    load_promises()
    assert LEDGER.with_suffix(".md").read_text() == page(read(LEDGER))


def test_no_promise_is_both_shown_and_not_yet() -> None:
    assert not load_all().keys() & NOT_YET.keys()


WITHOUT = ("-p", "no:schemathesis", "-p", "no:hypothesispytest")
"""What is installed and not asked for here: each process would take as long to import it as for all that it shows."""

SHOWN = """
import pytest
from waybill_contracts import contract
from waybill_contracts.embedded import File, Memory

test_on_a_file, test_in_memory = contract(File()), contract(Memory())


@pytest.fixture(autouse=True)
def _left_out(request):
    if "T06" in request.node.name and "memory" in request.node.name:
        pytest.skip("for no reason")
"""


def show(folder: Path, which: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run promises in several processes."""
    (folder / "test_shown.py").write_text(SHOWN)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *WITHOUT]
    command += ["-p", "waybill_contracts.pytest_plugin", "--conformance", "ledger.json", "-k", which, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.timeout(300)
def test_rows_of_all_processes_are_written_and_held_against_what_is_written(tmp_path: Path) -> None:
    written = show(tmp_path, "T01 or X05", "--conformance-write")
    assert written.returncode == 0, written.stdout
    rows = read(tmp_path / "ledger.json")
    assert {(row.id, row.broker) for row in rows} == {(i, b) for i in ("T01", "X05") for b in ("sqlite", "memory")}
    write(tmp_path / "ledger.json", rows[1:])
    again = show(tmp_path, "T01 or X05")
    assert again.returncode == 1
    assert f"{rows[0].id} on {rows[0].broker}: is not written down" in again.stdout


@pytest.mark.parametrize("which", ["T06", "T06 and memory"])
def test_a_promise_that_is_skipped_fails_the_run(tmp_path: Path, which: str) -> None:
    done = show(tmp_path, which)
    assert done.returncode == 1, done.stdout
    assert "was skipped, and has no row" in done.stdout
