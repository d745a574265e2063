"""`waybill schema register`: contracts into a registry, checked first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from waybill.cli.screen import document, table, tell
from waybill_schema_registry.cli import options
from waybill_schema_registry.cli.check import show
from waybill_schema_registry.cli.choosing import baseline, choose, open_registry
from waybill_schema_registry.entities import Version
from waybill_schema_registry.gate.checking import check as check_all
from waybill_schema_registry.gate.contract import Contract
from waybill_schema_registry.gate.lines import located
from waybill_schema_registry.gate.registering import ask_all, register_all
from waybill_schema_registry.gate.table import load_table
from waybill_schema_registry.gate.verdict import Verdict

__all__ = ["register"]

Dry = Annotated[bool, typer.Option("--dry-run", help="Check only; register nothing.")]


def register(
    files: options.Files = None,
    app: options.App = None,
    registry: options.RegistryUrl = None,
    dry_run: Dry = False,
    as_json: options.Json = False,
) -> None:
    """Register the contracts of an application, if none of them breaks its promise.

    All are checked, here and by the registry, before the first is registered. What is registered already stays as it is, so
    doing it again is harmless.
    """
    verdicts, name, made = asyncio.run(_register(files, app, registry, dry_run=dry_run))
    if made is None:
        show(verdicts, name, "json" if as_json else "text")
        tell("nothing was registered")
        raise typer.Exit(1)
    states = {verdict.subject: verdict.state for verdict in verdicts}
    rows = [{"subject": o.subject, "version": o.version, "id": o.id, "state": states[o.subject]} for o in made]
    if dry_run:
        rows = [{"subject": subject, "version": None, "id": None, "state": state} for subject, state in states.items()]
    if as_json:
        document(rows)
        return
    shown = [["" if value is None else str(value) for value in row.values()] for row in rows]
    table(["SUBJECT", "VERSION", "ID", "STATE"], shown, numbers=["VERSION", "ID"])
    if dry_run:
        tell("a dry run: nothing was registered")


async def _register(
    files: Sequence[Path] | None, app: str | None, registry: str | None, *, dry_run: bool
) -> tuple[list[Verdict], str, list[Version] | None]:
    """The versions; None where the gate holds them up."""
    settings = load_table()
    chosen = choose(files, app, settings)
    contracts: dict[str, Contract] = chosen.contracts()
    async with baseline(chosen, registry, None, settings, create=not dry_run) as before:
        verdicts = [located(one) for one in await check_all(contracts, before, settings, whole=chosen.whole)]
    if any(verdict.broken for verdict in verdicts):
        return verdicts, before.name, None
    async with open_registry(registry, settings) as opened:
        await ask_all(opened, contracts, {one.subject for one in verdicts if one.state == "unchanged"})
        return verdicts, before.name, [] if dry_run else await register_all(opened, contracts)
