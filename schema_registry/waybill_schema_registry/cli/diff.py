"""`waybill schema diff`: what has changed in the contracts, as text."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from waybill.cli.screen import document, line
from waybill_schema_registry.cli import options
from waybill_schema_registry.cli.choosing import baseline, choose
from waybill_schema_registry.formats.avro.text import text_of
from waybill_schema_registry.gate.table import load_table
from waybill_schema_registry.levels import Level

__all__ = ["diff"]


def diff(
    files: options.Files = None,
    app: options.App = None,
    registry: options.RegistryUrl = None,
    against: options.Against = None,
    as_json: options.Json = False,
) -> None:
    """Show what has changed in the contracts since the latest version in a registry, or since a git revision.

    The schemas are compared as Avro understands them, so neither white space nor the order of keys is a change. Whether the
    change is a break is for `waybill schema check` to say.
    """
    found, name = asyncio.run(_changes(files, app, registry, against))
    if as_json:
        document([{"subject": subject, "diff": lines} for subject, lines in found.items()])
        return
    for lines in found.values():
        for text in lines:
            line(text)
    if not any(found.values()):
        line(f"no difference from {name}")


async def _changes(
    files: Sequence[Path] | None, app: str | None, registry: str | None, against: str | None
) -> tuple[dict[str, list[str]], str]:
    settings = load_table()
    chosen = choose(files, app, settings)
    contracts = chosen.contracts()
    found: dict[str, list[str]] = {}
    async with baseline(chosen, registry, against, settings) as before:
        for subject in sorted({*contracts, *await before.subjects()}):
            versions = await before.versions(subject, Level.BACKWARD)
            name, old = versions[-1] if versions else ("nothing", None)
            new = contracts[subject].understood() if subject in contracts else None
            found[subject] = list(
                _compared(
                    subject,
                    name,
                    None if old is None else text_of(old.root),
                    None if new is None else text_of(new.root),
                )
            )
    return found, before.name


def _compared(subject: str, name: str, old: str | None, new: str | None) -> Iterator[str]:
    return difflib.unified_diff(_lines(old), _lines(new), f"{subject} ({name})", f"{subject} (now)", lineterm="", n=3)


def _lines(text: str | None) -> list[str]:
    return [] if text is None else json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines()
