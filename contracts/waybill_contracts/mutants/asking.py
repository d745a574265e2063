"""Run mutants through promises, each in a process of its own, and say what came of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence

import msgspec

from waybill_contracts.behaviour import Behaviour
from waybill_contracts.mutants.standing_in import StandIn
from waybill_contracts.mutants.trying import Tried
from waybill_contracts.proving import load_all

__all__ = ["ask"]

AT_ONCE = 4 * (os.cpu_count() or 1)
"""Most of it is waiting."""


async def ask(
    cases: Iterable[tuple[str, str]], asked: Sequence[str], *, module: str = "waybill_contracts.mutants.trying"
) -> list[Tried]:
    """Try the cases, a mutant's name and a promise's id each, of which one or the other is asked for; all, if nothing is.
    `module` is run with the names of both, and prints what came of it."""
    promises, slots = load_all(), asyncio.Semaphore(AT_ONCE)
    wanted = [(name, ident) for name, ident in cases if not asked or name in asked or ident in asked]
    longest = sorted(wanted, key=lambda case: -promises[case[1]].seconds)
    return await asyncio.gather(*(_ask(name, promises[ident], slots, module) for name, ident in longest))


async def _ask(name: str, promise: Behaviour, slots: asyncio.Semaphore, module: str) -> Tried:
    command = [sys.executable, "-m", module, name, promise.id]
    async with slots:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(promise.limit + 30):
                told, _ = await process.communicate()
            tried = msgspec.json.decode((told.splitlines() or [b""])[-1], type=Tried)  # some print what they do
        except (TimeoutError, msgspec.DecodeError) as error:
            tried = Tried(name, promise.id, holds=True, said=f"it gave no answer: {error!r}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    sound = name == StandIn.__name__
    word = "holds" if sound and tried.holds else "BROKEN" if sound else "SURVIVED" if tried.holds else "killed"
    print(f"{word:9} {name} by {promise.id} in {tried.seconds:.1f} s: {tried.said[:100]}", flush=True)
    return tried
