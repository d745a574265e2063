"""The readings in SQLite. A transaction costs about as much for a hundred rows as for one: it waits for the disk once."""

import sqlite3
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from examples.batch.contracts import Reading

__all__ = ["Table"]

SCHEMA = """CREATE TABLE IF NOT EXISTS readings
    (sensor TEXT NOT NULL, at TEXT NOT NULL, celsius REAL NOT NULL, PRIMARY KEY (sensor, at))"""


class Table:
    """For one handler at a time; opened when it is first used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.transactions = 0
        """How many were committed."""

    def add(self, readings: Sequence[Reading]) -> None:
        """All of them or, if it raises, none, in one transaction. One that is there already is skipped."""
        rows = [(reading.sensor, reading.at.isoformat(), reading.celsius) for reading in readings]
        with self._database as database:
            database.executemany("INSERT INTO readings VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)
        self.transactions += 1

    def rows(self) -> int:
        count: int = self._database.execute("SELECT count(*) FROM readings").fetchone()[0]
        return count

    def close(self) -> None:
        self._database.close()

    @cached_property
    def _database(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, check_same_thread=False)  # a plain handler has another thread each time
        database.execute(SCHEMA)
        return database
