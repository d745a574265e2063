"""The embedded broker as a harness has it: the kit's own ground, and what its mutants are made of."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

from waybill import App, Settings
from waybill_contracts.harness import Broker

__all__ = ["File", "Memory", "file_broker"]

VERSION = f"SQLite {sqlite3.sqlite_version}"
CANNOT = {
    "permissions": "whoever may write to the file may declare as well",
    "partitions": "it has no partitions: keys are kept apart one by one",
}
"""What has no meaning for the embedded broker."""


class Memory:
    """`memory://`: kept for the length of a test."""

    name = "memory"
    provider = "memory"
    waived: Mapping[str, str] = {}

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        url = f"memory://{uuid.uuid4().hex}"
        cannot = CANNOT | dict.fromkeys(
            ("processes", "restart", "away", "cut", "foreign"), "memory belongs to one process"
        )
        async with App("keeper", settings=Settings(url=url)).connected():
            yield Broker(url=url, version=VERSION, cannot=cannot)


class File:
    """`sqlite:///`: a file for each test."""

    name = "sqlite"
    provider = "file"
    waived: Mapping[str, str] = {}

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        async with file_broker(folder / "bus.db", "sqlite:///") as broker:
            yield broker


@asynccontextmanager
async def file_broker(path: Path, scheme: str) -> AsyncGenerator[Broker, None]:
    """A broker that is the file `path`, at the URL `scheme` + path."""

    @asynccontextmanager
    async def away() -> AsyncGenerator[None, None]:
        """Another program holds the file locked: nobody can write."""
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                holder.execute("ROLLBACK")

    async def restart() -> None:
        """A file needs no server: whatever had it open has been closed."""

    async def foreign(topic: str, body: bytes) -> None:
        """A row as any SQLite tool writes it: the attributes are not Waybill's."""
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            connection.execute(
                "INSERT INTO messages (topic, message, body) SELECT id, '{}', ? FROM topics WHERE name = ?",
                (body, topic),
            )

    cannot = CANNOT | {"cut": "a file has no connections"}
    yield Broker(url=f"{scheme}{path}", version=VERSION, restart=restart, away=away, foreign=foreign, cannot=cannot)
