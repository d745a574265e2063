"""Transactions on a file that other processes write to as well, and its log, which is brought into the file now and then."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from waybill.sqlitefile.form import is_locked
from waybill.sqlitefile.guard import Guard

__all__ = ["PAUSE", "Log", "patiently", "transaction"]

R = TypeVar("R")

PAUSE = 0.001
"""Seconds between two attempts while somebody else has the file. SQLite's own waiting sleeps up to a tenth of a second."""
LONG_LOG = 16_384
"""Pages of the log beyond which it is cut, though that waits for whoever reads."""


def patiently(step: Callable[[], R], patience: float) -> R:
    """Do it; again and again, for so many seconds, while another process has the file locked."""
    end = time.monotonic() + patience
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() > end:
                raise
        time.sleep(PAUSE)


@contextmanager
def transaction(connection: sqlite3.Connection, guard: Guard, patience: float) -> Generator[None, None, None]:
    """All that is done within is done, or nothing, and into the file that others will find."""
    guard.look()
    patiently(lambda: connection.execute("BEGIN IMMEDIATE"), patience)
    try:
        guard.check_version(connection)
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # the next BEGIN says it, to whoever asks then
            connection.rollback()
        raise
    guard.look()  # once more: it could have gone into a file that nobody will find


class Log:
    """Brings the log of the file at `path` into it, after every so many changed rows.

    One process at a time: SQLite before 3.51.3 may lose commits where two do it. What is in the log is safe there, so
    whatever keeps it from being copied is left to the next time.
    """

    def __init__(self, path: str, *, every: int) -> None:
        self._path = path
        self._every = every
        self._copied = 0

    def copy(self, connection: sqlite3.Connection) -> None:
        """If it is time, in the thread that writes."""
        if connection.total_changes - self._copied <= self._every:
            return
        self._copied = connection.total_changes
        with suppress(OSError, sqlite3.Error), self._turn():
            pages = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
            if pages > LONG_LOG:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _turn(self) -> Generator[None, None, None]:
        """Raises `BlockingIOError` while another process has it."""
        mode = stat.S_IMODE(Path(self._path).stat().st_mode)
        file = os.open(f"{self._path}-checkpoint", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(file)
