"""`waybill schema check`: the gate."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from waybill.cli.screen import document, flagged, line
from waybill.errors import ConfigurationError
from waybill_schema_registry.cli import options
from waybill_schema_registry.cli.choosing import baseline, choose
from waybill_schema_registry.gate.annotations import annotated
from waybill_schema_registry.gate.checking import check as check_all
from waybill_schema_registry.gate.lines import located
from waybill_schema_registry.gate.table import load_table
from waybill_schema_registry.gate.telling import headline, summary, told
from waybill_schema_registry.gate.verdict import Verdict

__all__ = ["check", "show"]

WIDTH = 80
FORMATS = ("text", "json", "github")

Format = Annotated[
    str,
    typer.Option("--format", metavar="FORMAT", help="text, json, or github: annotations of GitHub Actions, and text."),
]


def check(  # noqa: PLR0917 - typer calls it by name
    files: options.Files = None,
    app: options.App = None,
    registry: options.RegistryUrl = None,
    against: options.Against = None,
    level: options.LevelName = None,
    form: Format = "text",
    as_json: options.Json = False,
) -> None:
    """Compare the contracts of an application with a registry or a git revision, and fail if one breaks its promise.

    Contracts are the topics of an application whose codec is Avro, and `.avsc` files. A break is a change after which somebody
    cannot read what others write; it is shown with data that prove it, what to do, and who must upgrade first. Nothing is
    registered or changed.
    """
    if form not in FORMATS:
        raise ConfigurationError(f"--format {form!r}: one of {', '.join(FORMATS)}")
    verdicts, name = asyncio.run(_verdicts(files, app, registry, against, level))
    show(verdicts, name, "json" if as_json else form)
    if any(verdict.broken for verdict in verdicts):
        raise typer.Exit(1)


async def _verdicts(
    files: Sequence[Path] | None, app: str | None, registry: str | None, against: str | None, level: str | None
) -> tuple[list[Verdict], str]:
    table, chosen_level = load_table(), options.level_named(level)
    chosen = choose(files, app, table)
    contracts = chosen.contracts()
    async with baseline(chosen, registry, against, table) as before:
        found = await check_all(contracts, before, table, chosen_level, whole=chosen.whole)
    return [located(verdict) for verdict in found], before.name


def _from_root() -> str:
    """The working directory, as seen from where GitHub looks for files."""
    root = os.environ.get("GITHUB_WORKSPACE")
    here = Path.cwd().resolve()
    if not root or not here.is_relative_to(Path(root).resolve()):
        return ""
    return here.relative_to(Path(root).resolve()).as_posix()


def show(verdicts: Sequence[Verdict], name: str, form: str) -> None:
    """form: one of `FORMATS`."""
    if form == "json":
        document([{**msgspec.to_builtins(verdict), "broken": verdict.broken} for verdict in verdicts])
        return
    if form == "github":
        for annotation in annotated(verdicts, _from_root()):
            line(annotation)
    width = min(shutil.get_terminal_size().columns, WIDTH)
    for verdict in verdicts:
        flagged("!!" if verdict.broken else "ok", headline(verdict), good=not verdict.broken)
        for text in told(verdict, width):
            line(text)
    line("")
    line(summary(verdicts, name))
