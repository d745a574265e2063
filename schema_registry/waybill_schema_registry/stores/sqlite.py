"""A registry in a file of SQLite: durable, for any number of processes of one machine.

One thread writes and one reads, so the event loop never waits for the disk. The loop itself only asks SQLite whether anybody
has committed (`PRAGMA data_version`), which is a look at memory that the processes share.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from waybill.errors import BrokerError
from waybill.sqlitefile.form import check_owner, foreign, is_locked, look, migrate, prepare
from waybill.sqlitefile.guard import Guard, keep_open
from waybill.sqlitefile.outside import check_log
from waybill.sqlitefile.writing import PAUSE, Log, patiently, transaction
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.rows import check_after, logged, now, read_log, schema
from waybill_schema_registry.stores.sqlite_form import FORM, apply
from waybill_schema_registry.stores.store import Change

__all__ = ["SQLiteStore"]

R = TypeVar("R")

SETTINGS = ("synchronous = FULL", "foreign_keys = ON", "wal_autocheckpoint = 0", "temp_store = MEMORY")
PATIENCE = 5.0
"""Seconds that another process may hold the file locked."""
CHUNK = 256
"""Revisions that are read at once."""
COPY_AFTER = 1000
"""Changed rows after which the log is copied into the file."""


class SQLiteStore:
    """`Store` in the file at `path`, which is made if there is none; its folder is not."""

    def __init__(self, path: str) -> None:
        # the working directory may change later, and whoever comes by another way must meet the others
        self._path = os.path.realpath(path)
        self._guard = Guard(self._path)
        self._seen, self._revision = -1, 0
        self._log = Log(self._path, every=COPY_AFTER)
        self._is_open = False

    async def open(self) -> None:
        if self._is_open:
            return
        self._writing = ThreadPoolExecutor(1, "waybill-registry-writing")
        self._reading = ThreadPoolExecutor(1, "waybill-registry-reading")
        try:
            await self._done_by(self._writing, self._open)
        except BaseException:
            self._end_threads()
            raise
        self._is_open = True

    async def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        await self._done_by(self._reading, lambda: None)  # whatever was asked of it is done
        try:
            await self._done_by(self._writing, self._close)
        finally:
            self._end_threads()

    async def revision(self) -> int:
        end = time.monotonic() + PATIENCE
        with self._mapped():
            while True:
                try:
                    return self._last()
                except sqlite3.OperationalError as error:
                    if not is_locked(error) or time.monotonic() > end:
                        raise
                await asyncio.sleep(PAUSE)

    async def changes(self, after: int) -> AsyncGenerator[tuple[int, Sequence[Change]]]:
        while found := await self._in(self._reading, partial(self._logged_after, after)):
            yield found
            after = found[0]

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        return await self._in(self._reading, partial(self._schemas, context, ids))

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        log = logged(changes)
        return await self._in(self._writing, partial(self._commit, after, changes, log))

    # ---------------------------------------------------------------- on the event loop

    def _last(self) -> int:
        self._check_open()
        self._guard.look_again()
        seen = self._watching.execute("PRAGMA data_version").fetchone()[0]
        if seen != self._seen:
            self._revision = _last_revision(self._watching)
            self._seen = seen
        return self._revision

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], R]) -> R:
        self._check_open()
        return await self._done_by(thread, work)

    async def _done_by(self, thread: ThreadPoolExecutor, work: Callable[[], R]) -> R:
        with self._mapped():
            return await asyncio.get_running_loop().run_in_executor(thread, work)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError(f"{self._path}: the store is not open")

    def _end_threads(self) -> None:
        self._writing.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    @contextmanager
    def _mapped(self) -> Generator[None, None, None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise StoreError(
                f"{self._path}: what was to be kept contradicts what is there, and nothing of it was kept ({error})"
            ) from error
        except sqlite3.Error as error:
            raise StoreError(str(foreign(error, self._path, self._path))) from error
        except BrokerError as error:
            raise StoreError(str(error)) from error
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error

    # ---------------------------------------------------------------- in the threads

    def _open(self) -> None:
        check_log(self._path)
        made: list[sqlite3.Connection] = []
        try:
            made.append(_patiently(self._connect))
            _patiently(partial(check_owner, made[0], self._path, FORM))
            _patiently(lambda: prepare(made[0], self._path, self._path, lambda: migrate(made[0], self._path, FORM)))
            _patiently(partial(self._guard.remember, made[0]))
            made += [_patiently(self._connect), _patiently(self._connect)]
            for connection in made:
                _patiently(partial(look, connection))
        except BaseException:
            for connection in made:
                connection.close()
            self._guard.close()
            raise
        self._writer, self._reader, self._watching = made
        self._seen = -1

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            for setting in SETTINGS:
                connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        connections = [self._watching, self._reader, self._writer]
        if self._guard.must_not_close():
            keep_open(connections)
        else:
            for connection in connections:
                connection.close()
        self._guard.close()

    def _logged_after(self, after: int) -> tuple[int, Sequence[Change]] | None:
        sql = "SELECT revision, changes FROM revisions WHERE revision > ? ORDER BY revision LIMIT ?"
        rows = _patiently(lambda: self._reader.execute(sql, (after, CHUNK)).fetchall())
        return read_log(rows)

    def _schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        sql = "SELECT id, format, text, about FROM schemas WHERE context = ? AND id IN (SELECT value FROM json_each(?))"
        asked = (context, f"[{','.join(map(str, ids))}]")
        rows = _patiently(lambda: self._reader.execute(sql, asked).fetchall())
        return {ident: schema(format_, text, about) for ident, format_, text, about in rows}

    def _commit(self, after: int, changes: Sequence[Change], log: str) -> int:
        with transaction(self._writer, self._guard, PATIENCE):
            check_after(after, _last_revision(self._writer), self._path)
            revision = after + 1
            self._writer.execute("INSERT INTO revisions VALUES (?, ?, ?)", (revision, now(), log))
            apply(self._writer, revision, changes)
        self._log.copy(self._writer)
        return revision


def _last_revision(connection: sqlite3.Connection) -> int:
    revision: int = connection.execute("SELECT coalesce(max(revision), 0) FROM revisions").fetchone()[0]
    return revision


def _patiently(step: Callable[[], R]) -> R:
    return patiently(step, PATIENCE)
