"""What the contracts have shown, as it was when this version was made: a promise by promise account of each broker."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec

__all__ = ["Column", "Shown", "evidence", "shown"]

FILE = Path(__file__).with_name("shown.json")
"""Made of docs/conformance.json by `make docs`."""
PASS = "pass"  # noqa: S105 - a result


class Column(msgspec.Struct, frozen=True):
    """One broker of the ledger."""

    broker: str
    version: str
    provider: str
    """Where it ran: `native`, `container`, `file`, `emulator`."""
    results: dict[str, str]
    """By promise: `pass`, or the result and its note, `partial: …`."""


class Shown(msgspec.Struct, frozen=True):
    """The ledger in short."""

    promises: dict[str, str]
    """In words, by id."""
    columns: dict[str, list[Column]]
    """By the adapter's name: `kafka`."""


@cache
def shown() -> Shown:
    return msgspec.json.decode(FILE.read_bytes(), type=Shown)


def evidence(adapter: str, promises: Sequence[str]) -> str:
    """What was shown of these promises, in a line: `O01, O02 shown on kafka 4.3`."""
    columns = shown().columns.get(adapter, [])
    if not columns or not promises:
        return "not shown by the contracts"
    told: dict[str, list[str]] = {}
    for promise in promises:
        results: dict[str, list[str]] = {}
        for column in columns:
            results.setdefault(column.results.get(promise, "not shown"), []).append(column.broker)
        for result, brokers in results.items():
            word, _, note = result.partition(": ")
            how = f"{'shown' if word == PASS else word} on {' and '.join(brokers)}"
            told.setdefault(f"{how}: {note}" if note else how, []).append(promise)
    return "; ".join(f"{', '.join(ids)} {how}" for how, ids in told.items())
