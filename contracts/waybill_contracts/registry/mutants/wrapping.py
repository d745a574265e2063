"""A sound store, and whatever a mutant does instead; all mutants by name."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from waybill_contracts.registry.harness import Place
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.stores.sqlite import SQLiteStore
from waybill_schema_registry.stores.store import Change

__all__ = ["MUTANTS", "Mutant", "Mutated", "Wrapped", "mutant"]


class Wrapped:
    """Passes everything on to a store in the file at `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sound = SQLiteStore(path)

    async def open(self) -> None:
        await self.sound.open()

    async def close(self) -> None:
        await self.sound.close()

    async def revision(self) -> int:
        return await self.sound.revision()

    async def changes(self, after: int) -> AsyncGenerator[tuple[int, Sequence[Change]]]:
        async for found in self.sound.changes(after):
            yield found

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        return await self.sound.schemas(context, ids)

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        return await self.sound.commit(after, changes)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong store, and the promises that must notice it, by id."""

    name: str
    wrong: str
    killed_by: tuple[str, ...]
    sort: type[Wrapped]


MUTANTS: dict[str, Mutant] = {}


def mutant(*killed_by: int) -> Callable[[type[Wrapped]], type[Wrapped]]:
    """A class is a mutant; its docstring says what it does wrong. Each of the promises must fail on it."""

    def register(sort: type[Wrapped]) -> type[Wrapped]:
        name = sort.__name__
        assert name not in MUTANTS, name
        MUTANTS[name] = Mutant(
            name, (sort.__doc__ or "").split("\n")[0], tuple(f"store-{n:02}" for n in killed_by), sort
        )
        return sort

    return register


class Mutated:
    """A harness for one."""

    provider = "mutant"
    waived: Mapping[str, str] = {}

    def __init__(self, sort: type[Wrapped]) -> None:
        self.name = sort.__name__
        self._sort = sort

    @asynccontextmanager
    async def place(self, folder: Path) -> AsyncGenerator[Place, None]:
        path = str(folder / "registry.db")
        yield Place(opener=lambda: self._sort(path), version=f"SQLite {sqlite3.sqlite_version}")
