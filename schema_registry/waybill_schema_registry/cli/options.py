"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from waybill.cli.options import App, Json, Yes
from waybill.errors import ConfigurationError
from waybill_schema_registry.levels import Level

__all__ = [
    "Against",
    "App",
    "Files",
    "Json",
    "LevelName",
    "RegistryUrl",
    "Subject",
    "VersionNumber",
    "Yes",
    "level_named",
]

Files: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILES", help="`.avsc` files, or folders of them; else `schema.files` in waybill.toml."),
]
RegistryUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--registry",
        metavar="URL",
        help="The registry, or its store; else WAYBILL_REGISTRY, else `schema.registry` in waybill.toml.",
    ),
]
Against: TypeAlias = Annotated[
    str | None, typer.Option("--against", metavar="REVISION", help="Compare with a git revision, e.g. origin/main.")
]
LevelName: TypeAlias = Annotated[
    str | None, typer.Option("--level", metavar="LEVEL", help="The level of all subjects, whatever else says another.")
]
Subject: TypeAlias = Annotated[str, typer.Argument(metavar="SUBJECT", help="For instance orders.placed-value.")]
VersionNumber: TypeAlias = Annotated[
    int | None, typer.Option("--version", metavar="N", min=1, help="This version; else the latest.")
]


def level_named(name: str | None) -> Level | None:
    """Raises `ConfigurationError`."""
    if name is None:
        return None
    try:
        return Level(name.upper())
    except ValueError:
        raise ConfigurationError(f"there is no level {name!r}. Levels are: {', '.join(Level)}") from None
