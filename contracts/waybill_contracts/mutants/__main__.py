"""Show that each mutant is noticed: `python -m waybill_contracts.mutants [NAME or ID …]`.

Runs each mutant through the promises that must notice it, several at once, and prints which did. Exits with 1 if one survives.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from waybill_contracts.embedded import NOT_OF_A_FILE
from waybill_contracts.harness import Broker
from waybill_contracts.ledger import Result
from waybill_contracts.mutants.running import Mutant, load_mutants, serve_mutants
from waybill_contracts.proving import load_behaviours, load_faults, prove

AT_ONCE = 6
PATIENCE = 6.0
"""Seconds a mutant is given where a broker is given 20: what shows a promise on the sound adapter takes less."""


class Mutated:
    """The embedded broker with a mutant around it, for `harness.Harness`."""

    provider = "mutant"
    waived: Mapping[str, str] = {}

    def __init__(self, name: str) -> None:
        self.name = name

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        from waybill_contracts.embedded import file_broker  # noqa: PLC0415

        async with file_broker(folder / "bus.db", f"mutant://{self.name}") as broker:
            yield broker


async def survives(mutant: Mutant, ident: str, slots: asyncio.Semaphore) -> str | None:
    """What is to be said of a mutant that a promise does not notice; `None`: it does."""
    async with slots:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            began = time.monotonic()
            try:
                row = await prove(
                    Mutated(mutant.name), (load_behaviours() | load_faults())[ident], Path(folder), patience=PATIENCE
                )
            except Exception as error:  # noqa: BLE001 - whatever notices it
                said = str(error).split("\n")[0][:100]
                print(f"killed    {mutant.name} by {ident} in {time.monotonic() - began:.1f} s: {said}", flush=True)
                return None
            how = "" if row.result is Result.PASS else f" ({row.result.value}: {row.note})"
            print(f"SURVIVED  {mutant.name}, {ident}{how}: {mutant.wrong}", flush=True)
            return mutant.name


async def main(asked: Sequence[str]) -> int:
    slots = asyncio.Semaphore(AT_ONCE)
    promises, mutants = load_behaviours() | load_faults(), load_mutants().values()
    cases = [
        (mutant, ident)
        for mutant in mutants
        for ident in mutant.killed_by
        if not asked or mutant.name in asked or ident in asked
    ]
    found = await asyncio.gather(*(survives(mutant, ident, slots) for mutant, ident in cases))
    survivors = [name for name in found if name is not None]
    shown = {ident for ident, promise in promises.items() if not set(promise.verbs) & NOT_OF_A_FILE.keys()}
    without = sorted(shown - {ident for mutant in mutants for ident in mutant.killed_by}) if not asked else []
    print(
        f"{len(cases) - len(survivors)} of {len(cases)} killed; promises without a mutant: {', '.join(without) or 'none'}"
    )
    return 1 if survivors or without else 0


if __name__ == "__main__":
    serve_mutants()
    logging.disable()  # what mutants cause is not ours to tell
    code = asyncio.run(main(sys.argv[1:]))
    sys.stdout.flush()
    os._exit(code)  # some mutants leave things open on purpose
