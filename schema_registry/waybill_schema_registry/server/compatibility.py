"""Whether a schema may follow, without registering it."""

from __future__ import annotations

from typing import Literal

from waybill_schema_registry.server.asking import Ask
from waybill_schema_registry.server.shapes import CompatibilityAnswer, SchemaBody

__all__ = ["check_history", "check_version"]


async def check_version(ask: Ask) -> CompatibilityAnswer:
    return await _check(ask, ask.version)


async def check_history(ask: Ask) -> CompatibilityAnswer:
    return await _check(ask, None)


async def _check(ask: Ask, version: int | Literal["latest"] | None) -> CompatibilityAnswer:
    schema = ask.read(SchemaBody).as_schema()
    ask.demand_references(schema, ask.subject)
    verbose = ask.flag("verbose")
    found = await ask.engine.compatible(ask.subject, schema, version, normalize=ask.normalize, verbose=verbose)
    return (
        CompatibilityAnswer(found.compatible, list(found.messages))
        if verbose
        else CompatibilityAnswer(found.compatible)
    )
