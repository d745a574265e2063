"""What came of each promise on each broker: a row each, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path

import msgspec

from waybill_contracts.behaviour import BEHAVIOURS
from waybill_contracts.behaviour import NOT_YET as PROMISES_NOT_YET
from waybill_contracts.faults.fault import FAULTS
from waybill_contracts.faults.fault import NOT_YET as FAULTS_NOT_YET
from waybill_contracts.registry.promise import PREFIX, PROMISES

__all__ = ["AT_TIMES", "Result", "Row", "differences", "matrix", "page", "read", "write"]


AT_TIMES = "at times "
"""How a note begins of what is weaker by chance: a run may see it or not."""


class Result(Enum):
    """`PARTIAL`: a weaker assertion held, and the note says which. `REFUSED`: the refusal was seen. `WAIVED`: it cannot be
    shown here, and the note says why. `NOT_YET`: it waits for a feature."""

    PASS = "pass"
    PARTIAL = "partial"
    REFUSED = "refused"
    WAIVED = "waived"
    NOT_YET = "not yet"


class Row(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One promise on one broker."""

    id: str
    broker: str
    version: str = ""
    provider: str = ""
    result: Result = Result.PASS
    note: str = ""


SECTIONS = "PHGOARDSFLCTXIQYZVf"
"""In the order of the page: of promises by their letter, then the faults."""
NOT_YET = PROMISES_NOT_YET | FAULTS_NOT_YET
SIGNS = {Result.PASS: "✓", Result.PARTIAL: "partial", Result.REFUSED: "refused", Result.WAIVED: "waived"}


def write(path: Path, rows: Iterable[Row]) -> None:
    """As a list in JSON, sorted."""
    found = sorted(rows, key=lambda row: (row.id, row.broker, row.provider))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def read(path: Path) -> list[Row]:
    return msgspec.json.decode(path.read_bytes(), type=list[Row])


def differences(kept: Sequence[Row], observed: Sequence[Row]) -> list[str]:
    """Where a run has seen something else than what is written down, for the brokers that it ran on."""
    brokers = {row.broker for row in observed}
    before = {(row.id, row.broker): row for row in kept if row.broker in brokers}
    now = {(row.id, row.broker): row for row in observed}
    told: list[str] = []
    for ident, broker in sorted(before.keys() | now.keys()):
        old, new = before.get((ident, broker)), now.get((ident, broker))
        if old is None or new is None:
            told.append(f"{ident} on {broker}: {'is not written down' if old is None else 'was not shown'}")
        elif (old.result, old.note) != (new.result, new.note) and not (
            AT_TIMES in old.note and _sure(old) == _sure(new)
        ):
            told.append(
                f"{ident} on {broker}: written down as {old.result.value}, seen as {new.result.value} {new.note}"
            )
    return told


def _sure(row: Row) -> tuple[Result, str]:
    """What each run sees again."""
    if row.result is not Result.PARTIAL:
        return row.result, row.note
    note = "; ".join(part for part in row.note.split("; ") if not part.startswith(AT_TIMES))
    return (Result.PARTIAL if note else Result.PASS), note


def matrix(rows: Sequence[Row]) -> list[list[str]]:
    """A line a promise, a column a broker; first the heading."""
    names = {ident: known.name.replace("_", " ") for ident, known in (BEHAVIOURS | FAULTS).items()} | NOT_YET
    order = sorted(names, key=lambda ident: (SECTIONS.index(ident[0]), ident))
    return _matrix([row for row in rows if not _of_a_store(row)], {ident: names[ident] for ident in order})


def _stores(rows: Sequence[Row]) -> list[list[str]]:
    """The same for the stores of the registry."""
    names = {ident: known.name.replace("_", " ") for ident, known in sorted(PROMISES.items())}
    return _matrix([row for row in rows if _of_a_store(row)], names)


def _matrix(rows: Sequence[Row], names: Mapping[str, str]) -> list[list[str]]:
    brokers = sorted({row.broker for row in rows})
    found = {(row.id, row.broker): row for row in rows}
    lines = [["", "promise", *brokers]]
    for ident, name in names.items():
        lines.append([ident, name, *(_sign(found.get((ident, broker)), ident) for broker in brokers)])
    return lines


def _of_a_store(row: Row) -> bool:
    return row.id.startswith(PREFIX)


def _sign(row: Row | None, ident: str) -> str:
    if row is None:
        return "not yet" if ident in NOT_YET else "not shown"
    return SIGNS.get(row.result, row.result.value)


def page(rows: Sequence[Row]) -> str:
    """The ledger as Markdown."""
    versions = sorted({(row.broker, row.version, row.provider) for row in rows})
    text = [
        "# What was shown, on which broker",
        "",
        "Each line is a promise, and each cell what came of it when it was last shown; `make conformance` writes this page.",
        "✓: shown. partial: a weaker assertion was (below). refused: the broker cannot, and an application that asks for it",
        "does not start. waived: it cannot be shown there (below). not yet: it waits for a feature.",
        "",
        *(f"- {broker}: {version or 'no version'}, from {provider}" for broker, version, provider in versions),
        "",
        *_table(matrix(rows)),
        "",
        "## Stores of the schema registry",
        "",
        *_table(_stores(rows)),
        "",
        "## Notes",
        "",
        *(f"- {row.id} on {row.broker} ({row.result.value}): {row.note}" for row in sorted(rows) if row.note),
    ]
    return "\n".join(text) + "\n"


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    return [_line(lines[0]), _line(["---"] * len(lines[0])), *(_line(line) for line in lines[1:])]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
