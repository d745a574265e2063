"""The ledger: what is written down, compared, and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from waybill_contracts.ledger import NOT_YET, Result, Row, differences, page, read, write
from waybill_contracts.proving import load_behaviours, load_faults

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
        ([], [PASS], ["A06 on sqlite: is not written down"]),
        ([PASS, row(id="A04")], [PASS], ["A04 on sqlite: was not shown"]),
        ([PASS, row(broker="kafka")], [PASS], []),
    ],
)
def test_what_differs_is_told(kept: list[Row], seen: list[Row], told: list[str]) -> None:
    assert differences(kept, seen) == told


def test_each_promise_is_written_down_for_each_broker() -> None:
    shown = load_behaviours() | load_faults()
    rows = read(LEDGER)
    for broker in {row.broker for row in rows}:
        assert {row.id for row in rows if row.broker == broker} == set(shown)


def test_the_page_is_made_of_the_ledger() -> None:
    load_behaviours()
    load_faults()
    assert LEDGER.with_suffix(".md").read_text() == page(read(LEDGER))


def test_no_promise_is_both_shown_and_not_yet() -> None:
    assert not (load_behaviours() | load_faults()).keys() & NOT_YET.keys()
