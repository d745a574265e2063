"""From a promise and a harness to a row of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from waybill_contracts.ledger import Result, Row
from waybill_contracts.proving import cases
from waybill_contracts.registry.harness import StoreHarness
from waybill_contracts.registry.promise import PROMISES, Promise
from waybill_contracts.registry.trial import Trial

__all__ = ["load_promises", "prove", "store_contract"]


def load_promises() -> dict[str, Promise]:
    """All of them, by id."""
    import_module("waybill_contracts.registry.promises")  # registers them; they import this package
    return PROMISES


async def prove(harness: StoreHarness, promise: Promise, folder: Path) -> Row:
    """Show one promise. Raises whatever shows that it is broken."""
    result, note, version = Result.WAIVED, harness.waived.get(promise.id, ""), ""
    if not note:
        async with harness.place(folder) as place:
            version, note = place.version, place.alone if promise.together else ""
            if not note:
                result = Result.PASS
                async with asyncio.timeout(promise.limit):
                    await promise.check(Trial(place))
    broker = f"store: {harness.name}"
    return Row(id=promise.id, broker=broker, version=version, provider=harness.provider, result=result, note=note)


def store_contract(harness: StoreHarness) -> Callable[..., Any]:
    """A test function, with a case for each promise: `test_store = store_contract(MyHarness())` in a test module."""
    return cases(load_promises().values(), lambda promise, folder: prove(harness, promise, folder))
