"""What the service knows, in an SQLite file of its own that all of its processes share.

A message may come twice: its handler had finished, and the process died before the broker heard of it. So the id of the
message is written in the same transaction as what the message does. Either both are there or neither is, and the second
time the id is found and nothing is done.
"""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path

__all__ = ["Projection", "read_aircraft", "read_alerts"]

SCHEMA = """
    CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, carried_over INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS aircraft (
        tail TEXT PRIMARY KEY,
        flights INTEGER NOT NULL,       -- seen so far, cancelled ones too
        previous INTEGER,               -- minutes the last flight left late; NULL: none yet, or it was cancelled
        carried_over INTEGER NOT NULL   -- minutes, summed up
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS alerts (id TEXT PRIMARY KEY, flight TEXT NOT NULL, carried_over INTEGER NOT NULL) WITHOUT ROWID;
"""


class Projection:
    """Opened at its first use, so that importing the service touches no file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def follow(self, message: str, tail: str, delay: int | None) -> int:
        """Count a flight of aircraft `tail` that left `delay` minutes late (`None`: cancelled).

        Returns the minutes carried over from the aircraft's previous flight by schedule: how late that one left, 0 if it
        was not late. A cancelled flight has no delay: it takes none over, and none is carried over from it.

        The second time `message` comes it changes nothing and returns the same as the first time.
        """
        with self._transaction() as db:
            known = db.execute("SELECT carried_over FROM messages WHERE id = ?", (message,)).fetchone()
            if known is not None:
                return int(known[0])
            row = db.execute("SELECT previous FROM aircraft WHERE tail = ?", (tail,)).fetchone()
            previous = None if row is None else row[0]
            carried_over = 0 if previous is None or delay is None else max(0, previous)
            db.execute("INSERT INTO messages VALUES (?, ?)", (message, carried_over))
            db.execute(
                """INSERT INTO aircraft VALUES (?, 1, ?, ?) ON CONFLICT DO UPDATE SET flights = flights + 1,
                   previous = excluded.previous, carried_over = carried_over + excluded.carried_over""",
                (tail, delay, carried_over),
            )
            return carried_over

    def alert(self, message: str, flight: str, carried_over: int) -> None:
        """Remember an alert, once for each `message`."""
        with self._transaction() as db:
            db.execute("INSERT INTO alerts VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (message, flight, carried_over))

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        db = self._connection
        db.execute("BEGIN IMMEDIATE")  # one writer at a time; the other process waits here, some 0.1 ms
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, isolation_level=None, timeout=10.0)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a dead process loses nothing; a power cut may, FULL would not
        db.executescript(SCHEMA)
        return db


def read_aircraft(path: Path) -> dict[str, tuple[int, int]]:
    """Of each aircraft: how many flights were counted, and the minutes carried over, summed up."""
    with closing(sqlite3.connect(path)) as db:
        return {
            tail: (flights, over)
            for tail, flights, over in db.execute("SELECT tail, flights, carried_over FROM aircraft")
        }


def read_alerts(path: Path) -> list[tuple[str, int]]:
    """The flights that there was an alert for, and the minutes they had taken over."""
    with closing(sqlite3.connect(path)) as db:
        return sorted(db.execute("SELECT flight, carried_over FROM alerts"))
