"""From options, environment and `waybill.toml` to contracts, and to what they are compared with."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

from waybill.errors import ConfigurationError
from waybill.settings import FILE, load
from waybill_schema_registry.client.registry import Registry
from waybill_schema_registry.errors import NotFound
from waybill_schema_registry.gate.application import from_application
from waybill_schema_registry.gate.baseline import Baseline, Contracts, InRegistry
from waybill_schema_registry.gate.contract import Contract, by_subject
from waybill_schema_registry.gate.extract import contracts_at
from waybill_schema_registry.gate.files import SUFFIX, files_in, from_files
from waybill_schema_registry.gate.revision import Revision, checked_out
from waybill_schema_registry.gate.table import SchemaTable

__all__ = ["Chosen", "baseline", "choose", "open_registry", "registry_url"]

URL = "WAYBILL_REGISTRY"
WHERE = {
    40401: "`waybill schema list` shows those there are",
    40402: "`waybill schema history` shows those there are",
}
"""Where to look for what there is, by the code that says there is no such subject or version."""


class Chosen:
    """Where the contracts are written down: files and folders, an application, or both. whole: these are all that
    `waybill.toml` knows of."""

    def __init__(self, files: Sequence[Path], app: str | None, table: SchemaTable, *, whole: bool) -> None:
        self.files, self.app, self.whole, self._table = files, app, whole, table

    def contracts(self) -> dict[str, Contract]:
        """As they are now. Raises `ConfigurationError`, also where there are none."""
        found = self._of_files(files_in(self.files), None)
        if self.app is not None:
            found += from_application(self.app)
        if not found:
            where = " and ".join([*map(str, self.files), *([self.app] if self.app else [])])
            raise ConfigurationError(
                f"there are no contracts in {where}: no {SUFFIX} file, and no topic with codec=Avro(…)"
            )
        return by_subject(found)

    def contracts_at(self, revision: Revision) -> dict[str, Contract]:
        """As they were. What was not there had none."""
        there = [revision.place_of(file) for file in self.files]
        found = self._of_files(files_in(path for path in there if path.exists()), revision.here)
        if self.app is not None:
            found += contracts_at(self.app, revision) or []
        return by_subject(found)

    def _of_files(self, files: Sequence[Path], root: Path | None) -> list[Contract]:
        return from_files(files, self._table.subjects_of_files(), root)


def choose(files: Sequence[Path] | None, app: str | None, table: SchemaTable) -> Chosen:
    """What the command line says, or else what waybill.toml does. Raises `ConfigurationError` where neither says anything."""
    if files or app:
        return Chosen(files or (), app, table, whole=False)
    listed, named = [Path(file) for file in table.files], load().app
    if not listed and named is None:
        raise ConfigurationError(
            f"which contracts? Name an application (--app service:app, WAYBILL_APP, or `app` in {FILE}) or {SUFFIX} files "
            f"(waybill schema check schemas/, or `files` of [schema] in {FILE})"
        )
    return Chosen(listed, named, table, whole=True)


def registry_url(given: str | None, table: SchemaTable) -> str:
    """Raises `ConfigurationError` where none is named."""
    url = given or os.environ.get(URL) or table.registry
    if not url:
        raise ConfigurationError(
            f"which registry? Name it with --registry http://host:8081, in {URL}, or as `registry` of [schema] in {FILE}. To "
            f"compare with a git revision instead: --against origin/main"
        )
    return url


@asynccontextmanager
async def open_registry(given: str | None, table: SchemaTable, *, create: bool = False) -> AsyncGenerator[Registry]:
    """create: a store that is a file may be made. Raises `ConfigurationError`, and what the registry raises where it cannot be
    asked."""
    url = registry_url(given, table)
    if not create:
        _check_there(url)
    async with Registry(url) as registry:
        try:
            yield registry
        except NotFound as error:
            if error.code in WHERE:
                raise NotFound(f"{error} {WHERE[error.code]}", code=error.code) from error
            raise


def _check_there(url: str) -> None:
    """A file that is not there must not look like a registry in which nothing is registered."""
    path = unquote(url.strip().removeprefix("sqlite:///"))
    if url.strip().startswith("sqlite:///") and not Path(path).exists():
        raise ConfigurationError(
            f"there is no file {path}, so nothing can be compared with {url}: check the path. `waybill schema register` and "
            f"`waybill registry serve` make it"
        )


@asynccontextmanager
async def baseline(
    chosen: Chosen, registry: str | None, against: str | None, table: SchemaTable, *, create: bool = False
) -> AsyncGenerator[Baseline]:
    """create: as for `open_registry`. Raises `ConfigurationError`, also where both are named."""
    if against is not None and registry is not None:
        raise ConfigurationError("--against and --registry: compare with one of them at a time")
    if against is not None:
        with checked_out(against, None if chosen.app else [SUFFIX]) as revision:
            old = chosen.contracts_at(revision)
        yield Contracts(revision.name, old)
        return
    async with open_registry(registry, table, create=create) as opened:
        yield InRegistry(f"the registry at {opened.url}", opened)
