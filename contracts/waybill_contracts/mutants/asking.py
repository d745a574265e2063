"""Run a mutant through a promise in a process of its own, and say what came of it."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from waybill_contracts.behaviour import Behaviour
from waybill_contracts.mutants.standing_in import StandIn
from waybill_contracts.mutants.trying import Tried

__all__ = ["AT_ONCE", "ask"]

AT_ONCE = 4 * (os.cpu_count() or 1)
"""Most of it is waiting."""


async def ask(
    name: str, promise: Behaviour, slots: asyncio.Semaphore, *, module: str = "waybill_contracts.mutants.trying"
) -> Tried:
    """Run `module` with the names of both, in a process of its own that prints what came of it, and print that."""
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
