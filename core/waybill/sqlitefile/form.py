"""A program's own form of an SQLite file: whose file it is, and the numbered steps that lead to the present form.

SQLite's errors become `BrokerError`s here, whoever keeps what in the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from waybill.errors import BrokerError, BrokerFileError, BrokerUnavailable
from waybill.sqlitefile.outside import holders, is_full, obstacle

__all__ = ["Form", "Step", "check_owner", "code_of", "foreign", "is_locked", "look", "migrate", "prepare"]

Step: TypeAlias = Callable[[sqlite3.Connection], None]

LOCKED = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_INTERRUPT"}
_NO_WRITING = "it cannot be written to: check the permissions of the file and of its folder"
_FIX = {
    "SQLITE_CANTOPEN": "it cannot be opened: check that its folder exists and may be written to",
    "SQLITE_READONLY": _NO_WRITING,
    "SQLITE_PERM": _NO_WRITING,
    "SQLITE_CORRUPT": "it is damaged: stop all processes, keep a copy, and restore a backup or try `sqlite3 FILE .recover`",
    "SQLITE_NOTADB": "it is not an SQLite file, or its beginning is damaged: name another one, or restore a backup",
    "SQLITE_IOERR": "the disk reports an error: see the system's log (dmesg), and whether a quota or a limit on the size of "
    "files is reached",
}


@dataclass(frozen=True, slots=True)
class Form:
    """application_id: stands in the file's header. steps: step n makes version n of version n - 1."""

    application_id: int
    steps: tuple[Step, ...]


def foreign(error: sqlite3.Error, name: str, path: str | None) -> BrokerError:
    """Our error for one of SQLite's. path: `None` for memory."""
    short = _short(error)
    if short in LOCKED:
        others = ", ".join(holders(path)) if path is not None else ""
        return BrokerUnavailable(
            f"{name}: another program holds the file locked ({error}); it goes on when that lets go"
            + (f". Open in: {others}" if others else "")
        )
    said = f"({code_of(error) or type(error).__name__}: {error})"
    seen = ""
    if path is not None and short in {"SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_IOERR"}:
        short = "SQLITE_FULL" if is_full(path) else short
        seen = obstacle(path)
    if short == "SQLITE_FULL":
        return BrokerUnavailable(f"{name}: the disk is full: make room; what was confirmed is safe {said}")
    fix = _FIX.get(short, "SQLite reports an error")
    return BrokerFileError(f"{name}: {fix}{seen and '. '}{seen} {said}")


def code_of(error: sqlite3.Error) -> str:
    """SQLite's own name for the error, such as `SQLITE_IOERR_FSYNC`; empty where it has none."""
    return getattr(error, "sqlite_errorname", None) or ""


def is_locked(error: Exception) -> bool:
    """Whether somebody else has the file just now."""
    return isinstance(error, sqlite3.Error) and _short(error) in LOCKED


def _short(error: sqlite3.Error) -> str:
    return "_".join(code_of(error).split("_")[:2])


def look(connection: sqlite3.Connection) -> None:
    """Read something, so that the connection knows the file as it is now."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def check_owner(connection: sqlite3.Connection, name: str, form: Form) -> None:
    """Raise `BrokerFileError` for a file that is not ours. Changes nothing and makes no files beside it."""
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if owner != form.application_id and tables:
        raise BrokerFileError(f"{name} is an SQLite file of another program: name a file of its own for Waybill")


def prepare(connection: sqlite3.Connection, name: str, path: str | None, migrated: Callable[[], None]) -> None:
    """Make the file what we can work with. migrated: brings it to the present form. Raises `BrokerFileError`."""
    if path is not None:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise BrokerFileError(
                f"{name}: its file system cannot share memory among processes, as network file systems cannot "
                f"(journal mode {mode}): name a file on a local disk"
            )
    migrated()
    if path is not None:
        with suppress(BrokerUnavailable):  # locked by somebody else: not now, but it can be written to
            try:
                _try_to_write(connection)
            except sqlite3.Error as error:
                raise foreign(error, name, path) from error


def _try_to_write(connection: sqlite3.Connection) -> None:
    """SQLite opens what may not be written to for reading, and says so with the first write only."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA user_version = {version}")
    finally:
        connection.execute("ROLLBACK")


def migrate(connection: sqlite3.Connection, name: str, form: Form) -> None:
    """Apply every step that the file has not seen, each in a transaction of its own."""
    known = len(form.steps)
    while (version := _version(connection, name, known)) < known:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection, name, known) == version:  # nobody has come first
                form.steps[version](connection)
                connection.execute(f"PRAGMA application_id = {form.application_id}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, name: str, known: int) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > known:
        raise BrokerFileError(
            f"{name} was written by a later version of Waybill (file version {version}, this one knows "
            f"{known}): upgrade this installation, or use another file. Nothing was changed"
        )
    return version
