"""`waybill schema list | show | history`: what a registry holds."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from waybill.cli.screen import document, line, table
from waybill_schema_registry.cli import options
from waybill_schema_registry.cli.choosing import open_registry
from waybill_schema_registry.client.registry import Registry
from waybill_schema_registry.entities import LATEST, Schema, Version
from waybill_schema_registry.errors import NotFound
from waybill_schema_registry.gate.baseline import AT_ONCE, InRegistry
from waybill_schema_registry.gate.changes import changed, kept
from waybill_schema_registry.gate.table import load_table
from waybill_schema_registry.levels import Level

__all__ = ["history", "list_subjects", "show"]

Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only subjects that begin so.")]
Deleted = Annotated[bool, typer.Option("--deleted", help="Those that are softly deleted as well.")]
Raw = Annotated[bool, typer.Option("--raw", help="Only the schema, as the registry keeps it.")]


def list_subjects(
    prefix: Prefix = "",
    registry: options.RegistryUrl = None,
    deleted: Deleted = False,
    as_json: options.Json = False,
) -> None:
    """Show the subjects of a registry: how many versions, the latest, and the level that counts."""

    async def ask() -> list[dict[str, Any]]:
        async with open_registry(registry, load_table()) as opened:
            room = asyncio.Semaphore(AT_ONCE)
            names = await opened.get_subjects(prefix=prefix, deleted=deleted)

            async def one(subject: str) -> dict[str, Any]:
                async with room:
                    return await _row(opened, subject, deleted=deleted)

            return await asyncio.gather(*map(one, sorted(names)))

    rows = asyncio.run(ask())
    if as_json:
        document(rows)
        return
    table(
        ["SUBJECT", "VERSIONS", "LATEST", "LEVEL"], [[str(value) for value in row.values()] for row in rows],
        numbers=["VERSIONS", "LATEST"],
    )  # fmt: skip


async def _row(registry: Registry, subject: str, *, deleted: bool) -> dict[str, Any]:
    try:
        versions = list(await registry.get_versions(subject, deleted=deleted))
    except NotFound:  # deleted since it was listed
        versions = list[int]()
    level = await registry.get_compatibility(subject)
    return {"subject": subject, "versions": len(versions), "latest": max(versions, default=0), "level": level.value}


def show(  # noqa: PLR0917 - typer calls it by name
    subject: options.Subject,
    version: options.VersionNumber = None,
    registry: options.RegistryUrl = None,
    deleted: Deleted = False,
    raw: Raw = False,
    as_json: options.Json = False,
) -> None:
    """Show one version of a subject."""

    async def ask() -> Version:
        async with open_registry(registry, load_table()) as opened:
            return await opened.get_version(subject, version or LATEST, deleted=deleted)

    found = asyncio.run(ask())
    if as_json:
        document([_document(found)])
    elif raw:
        line(found.schema.text)
    else:
        line(f"{found.subject} version {found.version}, id {found.id}{', deleted' if found.deleted else ''}")
        for reference in found.schema.references:
            line(f"refers to {reference.name}: {reference.subject} version {reference.version}")
        line(_pretty(found.schema))


def history(subject: options.Subject, registry: options.RegistryUrl = None, as_json: options.Json = False) -> None:
    """Show the versions of a subject: when each came, what it has changed, and which level the change has kept."""
    rows = asyncio.run(_history(subject, registry))
    if as_json:
        document(rows)
        return
    shown = [[str(row["version"]), str(row["id"]), row["at"], row["kept"], " ".join(row["changes"])] for row in rows]
    table(["VERSION", "ID", "SINCE", "KEPT", "CHANGES"], shown, numbers=["VERSION", "ID"])


async def _history(subject: str, url: str | None) -> list[dict[str, Any]]:
    async with open_registry(url, load_table()) as opened:
        versions = [await opened.get_version(subject, number) for number in await opened.get_versions(subject)]
        schemas = await InRegistry(f"the registry at {opened.url}", opened).versions(subject, Level.FULL_TRANSITIVE)
    rows: list[dict[str, Any]] = []
    for place, (version, (_, schema)) in enumerate(zip(versions, schemas, strict=True)):
        old = schemas[place - 1][1] if place else None
        rows.append(
            {
                "version": version.version,
                "id": version.id,
                "at": _time(version.at),
                "kept": "" if old is None else kept(old, schema),
                "changes": [] if old is None else changed(old, schema),
            }
        )
    return rows


def _time(milliseconds: int) -> str:
    if not milliseconds:
        return ""  # an old server does not say
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
    )


def _document(version: Version) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(version)
    return found


def _pretty(schema: Schema) -> str:
    try:
        text = json.dumps(json.loads(schema.text), indent=2, ensure_ascii=False)
    except ValueError:
        text = schema.text  # another format
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
