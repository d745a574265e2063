"""How the embedded broker comes to a test, with and without a mutant around it."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

from waybill import App, Settings
from waybill_contracts import Broker

VERSION = f"SQLite {sqlite3.sqlite_version}"


class Memory:
    """`memory://`: kept for the length of a test."""

    name = "memory"
    provider = "memory"
    waived: Mapping[str, str] = {}

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        url = f"memory://{uuid.uuid4().hex}"
        cannot = dict.fromkeys(("processes", "restart", "away", "cut"), "memory belongs to one process")
        async with App("keeper", settings=Settings(url=url)).connected():
            yield Broker(url=url, version=VERSION, cannot=cannot)


class File:
    """`sqlite:///`: a file for each test."""

    name = "sqlite"
    provider = "file"
    waived: Mapping[str, str] = {}

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        path = folder / "bus.db"

        @asynccontextmanager
        async def away() -> AsyncGenerator[None, None]:
            """Another program holds the file: nobody can write."""
            with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as holder:
                holder.execute("BEGIN IMMEDIATE")
                try:
                    yield
                finally:
                    holder.execute("ROLLBACK")

        async def restart() -> None:
            """A file needs no server: whatever had it open has been closed."""

        cannot = {"cut": "a file has no connections"}
        yield Broker(url=self.url(path), version=VERSION, restart=restart, away=away, cannot=cannot)

    def url(self, path: Path) -> str:
        return f"sqlite:///{path}"


class Mutated(File):
    """The same, with a mutant around it."""

    def __init__(self, name: str) -> None:
        self.mutant = name

    def url(self, path: Path) -> str:
        return f"mutant://{self.mutant}{path}"
