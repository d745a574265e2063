"""Where the processes of an application are asked: in the folder that they share, or over HTTP."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from waybill.errors import ConfigurationError
from waybill.ops.folder import Folder
from waybill.ops.probing import fresh
from waybill.ops.state import State

__all__ = ["StatusDir", "Urls", "Where", "states_of"]

StatusDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--status-dir",
        metavar="DIR",
        help="The folder that the processes share; else WAYBILL_STATUS_DIR, else waybill.toml.",
    ),
]
Urls: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--ops", metavar="URL", help="Ask this process over HTTP instead. May be repeated."),
]


@dataclass(frozen=True, slots=True)
class Where:
    """What the command line says of it. app: whose settings name the folder, where nothing else does. imports: whether
    an application may be imported for that."""

    status_dir: Path | None = None
    ops: Sequence[str] | None = None
    app: str | None = None
    imports: bool = True

    @property
    def folder(self) -> Folder:
        """Raises `ConfigurationError` where none is named."""
        path = self.status_dir or _setting(self.app, imports=self.imports)
        if path is None:
            raise ConfigurationError(
                "the processes share no folder: set WAYBILL_STATUS_DIR (or status_dir in waybill.toml) to one, for them and "
                "for this program, or name a process: --ops http://127.0.0.1:9100"
            )
        return Folder(path)

    def states(self) -> list[State]:
        """Of the processes that live. Raises `ConfigurationError`, `BrokerUnavailable`."""
        if not self.ops:
            return states_of(self.folder)
        from waybill.ops.remote import ask  # noqa: PLC0415 - HTTP is slow to import

        return [ask(url) for url in self.ops]


def states_of(folder: Folder) -> list[State]:
    """Of the processes that live. Raises `ConfigurationError` where there is no such folder."""
    if not folder.path.is_dir():
        raise ConfigurationError(f"there is no folder {folder.path}: does the service run, and is that its status_dir?")
    return fresh(folder.states(), time.time())


def _setting(app: str | None, *, imports: bool) -> Path | None:
    from waybill.settings import load  # noqa: PLC0415 - pydantic-settings is slow to import

    settings = load()
    if imports and settings.status_dir is None and (app or settings.app):
        from waybill.cli.application import open_app, reference_of  # noqa: PLC0415 - imports the application

        settings = open_app(reference_of(app, url=None, dev=False), url=None, dev=False)[1]
    return None if settings.status_dir is None else Path(settings.status_dir)
