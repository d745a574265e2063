"""`waybill schema generate`: pydantic models from schemas."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from waybill.cli.screen import tell
from waybill.errors import ConfigurationError
from waybill_schema_registry.cli import options
from waybill_schema_registry.cli.choosing import open_registry
from waybill_schema_registry.formats.avro import reading
from waybill_schema_registry.formats.avro.text import text_of
from waybill_schema_registry.gate.baseline import InRegistry
from waybill_schema_registry.gate.contract import by_subject
from waybill_schema_registry.gate.files import files_in, from_files
from waybill_schema_registry.gate.registering import in_order
from waybill_schema_registry.gate.table import load_table
from waybill_schema_registry.types import generate as source_of

__all__ = ["generate"]

Files = Annotated[list[Path] | None, typer.Argument(metavar="FILES", help="`.avsc` files, or folders of them.")]
OfSubject = Annotated[
    str | None, typer.Option("--subject", metavar="SUBJECT", help="The latest version of this subject in a registry.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the module there; else to stdout.")]
Overwrite = Annotated[bool, typer.Option("--force", help="Replace the file where there is one.")]


def generate(
    files: Files = None,
    subject: OfSubject = None,
    registry: options.RegistryUrl = None,
    out: Out = None,
    force: Overwrite = False,
) -> None:
    """Write the Python source of pydantic models that have the given schemas.

    The models have these very schemas again, with names, docs, defaults, aliases and logical types.
    """
    if bool(files) == (subject is not None):
        raise ConfigurationError("waybill schema generate: name .avsc files, or --subject, one of the two")
    schemas = _of_files(files) if files else [asyncio.run(_of_subject(subject or "", registry))]
    text = source_of(*schemas)
    if out is None:
        sys.stdout.write(text)
        return
    if os.path.lexists(out) and not force:
        raise ConfigurationError(f"{out}: there is such a file. Name a new one, or replace it with --force")
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--out {out} cannot be written: {error.strerror}") from error
    tell(f"{out} written")


def _of_files(files: list[Path]) -> list[Any]:
    contracts = by_subject(from_files(files_in(files), load_table().subjects_of_files()))
    for contract in contracts.values():
        contract.understood()
    return [reading.read(contract.text) for contract in in_order(contracts)]


async def _of_subject(subject: str, url: str | None) -> Any:
    async with open_registry(url, load_table()) as opened:
        version = await opened.get_latest_version(subject)
        schema = await InRegistry(f"the registry at {opened.url}", opened).understood(version)
    return reading.read(text_of(schema.root))
