"""How a store comes to a test: what whoever wrote one has to write."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from waybill_schema_registry.stores.memory import Memory, MemoryStore
from waybill_schema_registry.stores.sqlite import SQLiteStore
from waybill_schema_registry.stores.store import Store

__all__ = ["InAFile", "InMemory", "Place", "StoreHarness"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a store lies, empty at first.

    opener: a store of this place, not opened yet; each call is of somebody else who uses the same place at the same time.
    version: of the database, for the ledger. alone: why only one can use it, where that is so.
    """

    opener: Callable[[], Store]
    version: str = ""
    alone: str = ""


class StoreHarness(Protocol):
    """How a store comes to a test. It calls nothing private."""

    @property
    def name(self) -> str:
        """For the ledger: `sqlite`."""
        ...

    @property
    def provider(self) -> str:
        """Where it comes from: `file`, `container`, `native`, `url`."""
        ...

    @property
    def waived(self) -> Mapping[str, str]:
        """Promises, by id, that cannot be shown here, each with the reason, which stands in the ledger."""
        ...

    def place(self, folder: Path) -> AbstractAsyncContextManager[Place]:
        """An empty place for one test. `folder`: an empty one, for whatever it needs."""
        ...


class InMemory:
    """`memory://`, shared as servers share a database."""

    name = "memory"
    provider = "memory"
    waived: Mapping[str, str] = {}

    @asynccontextmanager
    async def place(self, folder: Path) -> AsyncGenerator[Place, None]:
        del folder
        memory = Memory()
        yield Place(opener=lambda: MemoryStore(memory))


class InAFile:
    """`sqlite:///`: a file for each test."""

    name = "sqlite"
    provider = "file"
    waived: Mapping[str, str] = {}

    @asynccontextmanager
    async def place(self, folder: Path) -> AsyncGenerator[Place, None]:
        path = str(folder / "registry.db")
        yield Place(opener=lambda: SQLiteStore(path), version=f"SQLite {sqlite3.sqlite_version}")
