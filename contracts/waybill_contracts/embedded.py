"""The embedded broker as a harness has it: the kit's own ground, and what its mutants are made of."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

from waybill import App, Settings
from waybill_contracts.harness import VERBS, Broker

__all__ = ["NOT_OF_A_FILE", "File", "Memory", "file_broker"]

VERSION = f"SQLite {sqlite3.sqlite_version}"
NOT_OF_A_FILE = {
    "cut": "a file has no connections",
    "credentials": "a file has no credentials but its permissions",
    "rolling": "a file is on one machine",
    "permissions": "whoever may write to the file may declare as well",
    "partitions": "it has no partitions: it orders each key by itself",
    "link": "a file has no connections",
    "kill": "a file has no server that could end",
    "stop": "a file has no server that could end",
    "pause": "a file has no server that could stand still",
    "lock_out": "a file has no credentials but its permissions",
    "forbid": "whoever may read the file may consume",
    "dead_end": "a dead letter stays where it is, marked: it has no place that could be missing or full",
    "give_up": "it gives up nothing by itself",
}
"""Verbs that have no meaning there, and why."""


class Memory:
    """`memory://`: kept for the length of a test."""

    name = "memory"
    provider = "memory"
    waived: Mapping[str, str] = {}

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        url = f"memory://{uuid.uuid4().hex}"
        cannot = dict.fromkeys(VERBS, "memory belongs to one process") | {"partitions": NOT_OF_A_FILE["partitions"]}
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

    @asynccontextmanager
    async def throttle() -> AsyncGenerator[None, None]:
        """Another program writes most of the time, in small pieces."""
        ended = threading.Event()
        busy = asyncio.create_task(asyncio.to_thread(_write_again_and_again, path, ended))
        try:
            yield
        finally:
            ended.set()
            await busy

    async def remove(topic: str, group: str) -> None:
        """By hand, as with SQLite's own shell."""
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as shell:
            shell.execute(
                "DELETE FROM groups WHERE name = ? AND topic = (SELECT id FROM topics WHERE name = ?)", (group, topic)
            )

    async def restart() -> None:
        """A file needs no server: whatever had it open has been closed."""

    async def foreign(topic: str, body: bytes) -> None:
        """A row as any SQLite tool writes it: the attributes are not Waybill's."""
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            connection.execute(
                "INSERT INTO messages (topic, message, body) SELECT id, '{}', ? FROM topics WHERE name = ?",
                (body, topic),
            )

    yield Broker(
        url=f"{scheme}{path}",
        version=VERSION,
        restart=restart,
        away=away,
        silent=away,
        throttle=throttle,
        remove=remove,
        foreign=foreign,
        cannot=NOT_OF_A_FILE,
    )


def _write_again_and_again(path: Path, ended: threading.Event) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as other:
        while not ended.wait(0.05):
            other.execute("BEGIN IMMEDIATE")
            ended.wait(0.4)
            other.execute("ROLLBACK")
