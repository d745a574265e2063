"""Each mutant through the promises that must notice it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from waybill_contracts.registry.harness import StoreHarness
from waybill_contracts.registry.mutants.wrapping import MUTANTS, Mutant, Mutated, Wrapped
from waybill_contracts.registry.promise import Promise
from waybill_contracts.registry.proving import load_promises, prove

__all__ = ["load_mutants", "survivors"]


def load_mutants() -> dict[str, Mutant]:
    """All of them, by name."""
    for module in ("committing", "reading"):
        import_module(f"waybill_contracts.registry.mutants.{module}")  # registers them; they import this package
    return MUTANTS


async def survivors(asked: Sequence[str], say: Callable[[str], object]) -> list[str]:
    """What is wrong: mutants that no promise has noticed, promises that none has, or that do not hold on the sound store.

    asked: mutants' names or promises' ids; all, if empty. say: is told what each promise says of a mutant.
    """
    promises, wrong, killers = load_promises(), list[str](), set[str]()
    for known in load_mutants().values():
        for ident in known.killed_by:
            if asked and not {known.name, ident} & {*asked}:
                continue
            said = await _noticed(Mutated(known.sort), promises[ident])
            if said is None:
                wrong.append(f"{known.name} survives {ident}: {known.wrong}")
            else:
                killers.add(ident)
                say(f"killed {known.name} by {ident}: {said}")
    for ident in promises.keys() - killers if not asked else ():
        wrong.append(f"{ident} has no mutant")
    for ident in sorted(killers):
        if said := await _noticed(Mutated(Wrapped), promises[ident]):
            wrong.append(f"the sound store breaks {ident}: {said}")
    return wrong


async def _noticed(harness: StoreHarness, promise: Promise) -> str | None:
    """What the promise says of it; nothing where it holds."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            await prove(harness, promise, Path(folder).resolve())
        except Exception as error:  # noqa: BLE001 - whatever notices it
            return (str(error) or type(error).__name__).split("\n")[0]
    return None
