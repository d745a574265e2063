"""The index's file: opened for several processes, with SQLite's errors as ours.

What is committed is safe from the death of the process and of the machine. The file holds the bodies of messages, so it is
made for its owner's eyes only.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial

from waybill.dlq.ledger import make as operations
from waybill.dlq.tables import first
from waybill.errors import BrokerFileError, ConfigurationError
from waybill.sqlitefile.form import Form, Step, check_owner, foreign, migrate, prepare
from waybill.sqlitefile.guard import Guard, keep_open
from waybill.sqlitefile.outside import check_log
from waybill.sqlitefile.writing import Log, patiently, transaction

__all__ = ["FORM", "STEPS", "Database"]

STEPS: tuple[Step, ...] = (first, operations)
"""Step n makes version n of version n - 1. One who keeps tables of their own beside the letters adds a step at the end."""
FORM = Form(application_id=0x5742_444C, steps=STEPS)

SETTINGS = ("synchronous = FULL", "foreign_keys = ON", "wal_autocheckpoint = 0", "cache_size = -65536")
PATIENCE = 10.0
"""Seconds that another process may hold the file locked."""
COPY_AFTER = 20_000
"""Changed rows after which the log is copied into the file."""


class Database:
    """The file at `path`, open. Its threads take turns."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._guard = Guard(path)
        self._turn = threading.RLock()
        self._log = Log(path, every=COPY_AFTER)

    @classmethod
    @contextmanager
    def open(cls, path: str, *, create: bool) -> Generator[Database, None, None]:
        if not create and not os.path.exists(path):  # noqa: PTH110 - as everywhere where SQLite's paths are texts
            raise ConfigurationError(f"there is no index of dead letters at {path}: `waybill dlq collect` makes it")
        database = cls(os.path.realpath(path))
        with database._mapped():
            database._open()
        try:
            yield database
        finally:
            database._close()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """For questions, which all see one state of the file."""
        with self._turn, self._mapped():
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.rollback()

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        """All that is done within is done, or nothing. Within another `writing` it is a part of that one."""
        with self._turn, self._mapped():
            if self._connection.in_transaction:
                yield self._connection
                return
            with transaction(self._connection, self._guard, PATIENCE):
                yield self._connection
            self._log.copy(self._connection)

    @contextmanager
    def _mapped(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.Error as error:
            raise foreign(error, self.path, self.path) from error
        except OSError as error:
            raise BrokerFileError(f"{self.path}: {error.strerror}") from error

    def _open(self) -> None:
        check_log(self.path)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            for setting in SETTINGS:
                patiently(partial(connection.execute, f"PRAGMA {setting}"), PATIENCE)
            patiently(lambda: check_owner(connection, self.path, FORM), PATIENCE)
            patiently(lambda: prepare(connection, self.path, self.path, lambda: self._migrate(connection)), PATIENCE)
            patiently(lambda: self._guard.remember(connection), PATIENCE)
        except BaseException:
            connection.close()
            self._guard.close()
            raise
        self._connection = connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        try:
            migrate(connection, self.path, FORM)
        except sqlite3.OperationalError as error:
            if "no such module: fts5" not in str(error):
                raise
            raise ConfigurationError(
                "this Python's SQLite has no full-text search (FTS5): use a Python whose SQLite has it, as python.org's"
            ) from error

    def _close(self) -> None:
        with self._turn:
            if self._guard.must_not_close():
                keep_open([self._connection])
            else:
                self._connection.close()
            self._guard.close()
