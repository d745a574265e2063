"""One mutant and one promise, in a process of their own: `python -m waybill_contracts.mutants.trying NAME ID`.

Prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import msgspec

from waybill_contracts.embedded import file_broker
from waybill_contracts.harness import Broker, Harness
from waybill_contracts.ledger import Result
from waybill_contracts.mutants.running import serve_mutants, sort_of
from waybill_contracts.mutants.standing_in import StandIn, with_servers
from waybill_contracts.proving import load_all, prove

__all__ = ["Tried", "attempt", "tell"]

PATIENCE = 6.0
"""Seconds a mutant is given where a broker is given 20: what shows a promise on the sound adapter takes less."""


class Tried(msgspec.Struct):
    """What came of it. `said`: by the promise that failed, or of one that was not shown."""

    name: str
    ident: str
    holds: bool
    said: str = ""
    seconds: float = 0.0


class Mutated:
    """The embedded broker with a mutant around it, for `harness.Harness`."""

    provider = "mutant"
    waived: Mapping[str, str] = {}

    def __init__(self, name: str) -> None:
        self.name = name

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        async with file_broker(folder / "bus.db", f"mutant://{self.name}") as broker:
            yield with_servers(broker, str(folder / "bus.db")) if issubclass(sort_of(self.name), StandIn) else broker


async def attempt(name: str, ident: str, harness: Harness) -> Tried:
    """Whether the promise holds though the mutant of this name is there, with the broker of this harness."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            row = await prove(harness, load_all()[ident], Path(folder).resolve(), patience=PATIENCE)
        except Exception as error:  # noqa: BLE001 - whatever notices it
            said = (str(error) or type(error).__name__).split("\n")[0]
            return Tried(name, ident, holds=False, said=said, seconds=time.monotonic() - began)
    said = "" if row.result is Result.PASS else f"{row.result.value}: {row.note}"
    return Tried(name, ident, holds=True, said=said, seconds=time.monotonic() - began)


def tell(tried: Tried) -> NoReturn:
    """Print it, and end the process: some mutants leave things open on purpose."""
    sys.stdout.write(msgspec.json.encode(tried).decode() + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    serve_mutants()
    logging.disable()  # what mutants cause is not ours to tell
    given, promise = sys.argv[1:]
    tell(asyncio.run(attempt(given, promise, Mutated(given))))
