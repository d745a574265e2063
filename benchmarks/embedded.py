"""What the cases on the embedded broker share: an application on a file, the hand-written table, the peer's queue."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from persistqueue import SQLiteAckQueue

from benchmarks.payload import Order, adapter
from waybill import App, Settings

__all__ = ["application", "copied", "counted_commits", "flush", "hand_made", "peer", "place", "remove"]


def application(file: Path, *, sync: str = "full") -> App:
    """An application on that file. `sync`: as in the URL of the embedded broker."""
    return App("bench", settings=Settings(url=f"sqlite:///{file}?sync={sync}"))


def place(folder: Path) -> Path:
    """A folder that is not there yet, for the files of one round."""
    return folder / uuid.uuid4().hex[:12]


@contextmanager
def remove(folder: Path) -> Iterator[Path]:
    """Make the folder, and take it away with all that came into it."""
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def copied(template: Path, folder: Path) -> Iterator[Path]:
    """A copy of a preloaded file, or of a folder with one, for one round. It has reached the disk before work begins."""
    with remove(place(folder)) as home:
        target = home / template.name
        if template.is_dir():
            shutil.copytree(template, target)
        else:
            shutil.copyfile(template, target)
        os.sync()
        yield target


def hand_made(file: Path, *, synchronous: str) -> sqlite3.Connection:
    """What one writes by hand: one table, WAL, transactions by hand."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS messages (seq INTEGER PRIMARY KEY, owner INTEGER, body BLOB NOT NULL)"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS free ON messages (seq) WHERE owner IS NULL")
    return connection


class SameJson:
    """The peer's serializer, so that it writes and reads what everyone does."""

    @staticmethod
    def dumps(value: Order) -> bytes:
        return adapter.dump_json(value)

    @staticmethod
    def loads(body: bytes) -> Order:
        return adapter.validate_json(body)


def peer(folder: Path) -> SQLiteAckQueue:
    """persist-queue's acknowledged SQLite queue as it ships: WAL, synchronous=FULL, a commit a call."""
    return SQLiteAckQueue(str(folder), serializer=SameJson, auto_resume=False, multithreading=True)


# --------------------------------------------------------------------------- flushes


def flush(folder: Path, times: int = 100) -> tuple[float, float]:
    """What one flush of 4 KiB to the disk costs in that folder: microseconds that pass, and of the processor (medians).

    Written over what is there already, as a write-ahead log is most of the time.
    """
    walls: list[float] = []
    cpus: list[float] = []
    file = folder / "flush"
    file.write_bytes(b"x" * 4096 * times)
    with file.open("r+b", buffering=0) as raw:
        os.fsync(raw.fileno())
        for _ in range(times):
            wall, cpu = time.perf_counter(), time.process_time()
            raw.write(b"y" * 4096)
            os.fdatasync(raw.fileno())
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    file.unlink()
    return median(walls) * 1e6, median(cpus) * 1e6


@contextmanager
def counted_commits() -> Iterator[list[int]]:
    """Count the commits of connections opened meanwhile; the list's one number goes up."""
    count = [0]
    connect = sqlite3.connect

    class Counting(sqlite3.Connection):
        def commit(self) -> None:
            count[0] += 1
            super().commit()

    def counting(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, **{"factory": Counting, **kwargs})

    sqlite3.connect = counting  # type: ignore[assignment]
    try:
        yield count
    finally:
        sqlite3.connect = connect
