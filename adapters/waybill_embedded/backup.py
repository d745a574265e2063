"""A copy of the file that is whole, made beside those who write to it.

Copying the files by other means is not safe: they change meanwhile, and part of what was confirmed lies in the log. Here
one snapshot is read through SQLite, in steps. It holds up no writer, only the log grows as long as the snapshot is needed.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from waybill.backing import Copied, Progress
from waybill.errors import BrokerFileError, ConfigurationError
from waybill.sqlitefile.form import code_of
from waybill.sqlitefile.outside import SIDES, check_log, size
from waybill_embedded.claims import release_owner
from waybill_embedded.file import MIGRATIONS, Location, check_owner, connect_again, foreign

__all__ = ["back_up"]

STEP = 512
"""Pages copied between two looks whether to go on: 2 MB."""

Tell = Callable[[float, str], None]


class _Stopped(Exception):
    """Somebody does not want the copy any more."""


async def back_up(location: Location, path: Path, progress: Progress) -> Copied:
    """See `waybill.backing.Backs`."""
    source = _source(location, path)
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def tell(share: float, what: str) -> None:
        if stop.is_set():
            raise _Stopped
        loop.call_soon_threadsafe(progress, share, what)

    copying = asyncio.ensure_future(asyncio.to_thread(_copy, location, source, path, tell))
    try:
        return await asyncio.shield(copying)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.gather(copying, return_exceptions=True)
        raise


def _source(location: Location, path: Path) -> Path:
    """The file to copy. Raises what `back_up` raises for a file, or a place for the copy, that cannot be meant."""
    if location.path is None:
        raise ConfigurationError("memory:// has no file to copy, and no other process can see what it holds")
    source = Path(location.path)
    if not source.exists():
        raise ConfigurationError(f"{source} does not exist: there is nothing to copy. Check --url")
    check_log(location.path)
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path.parent} does not exist: name a file in a folder that does")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file in it")
    if path.exists() and path.samefile(source):
        raise ConfigurationError(f"{path} is the file to be copied: name another one")
    if any(os.path.lexists(f"{path}{side}") for side in SIDES):
        raise ConfigurationError(
            f"{path} is in use, or what used it did not end in order ({path}-wal lies beside it): name another file"
        )
    return source


def _copy(location: Location, source: Path, path: Path, tell: Tell) -> Copied:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    reading = True
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IMODE(source.stat().st_mode)))
        with closing(sqlite3.connect(part, isolation_level=None)) as target:
            with closing(connect_again(location)) as connection:
                check_owner(connection, location)
                reading = False
                _copy_pages(connection, target, tell)
            messages, dead = _finish(target, location, tell)
        _flush(part)
        copied = Copied(messages=messages, dead=dead, bytes=size(str(part)))
        part.replace(path)
        _flush(path.parent)
    except sqlite3.Error as error:
        damaged = code_of(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        place = location if reading or damaged else Location(str(path), str(path), durable=True)
        raise foreign(error, place) from error
    except OSError as error:
        raise BrokerFileError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        for leftover in ("", *SIDES, "-journal"):
            Path(f"{part}{leftover}").unlink(missing_ok=True)
    return copied


def _copy_pages(source: sqlite3.Connection, target: sqlite3.Connection, tell: Tell) -> None:
    """One snapshot: without it, copying would begin anew with each commit of somebody else."""

    def told(_status: int, remaining: int, total: int) -> None:
        tell(1 - remaining / total if total else 1.0, "copying")

    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    source.backup(target, pages=STEP, progress=told)


def _finish(target: sqlite3.Connection, location: Location, tell: Tell) -> tuple[int, int]:
    """Check the copy and give back what was handed out: its holders will not come to settle it here."""
    tell(1.0, "checking")
    found = target.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise BrokerFileError(
            f"{location.name} is damaged, and so would be its copy ({found}): keep both the file and older backups, and try "
            f"`sqlite3 FILE .recover`"
        )
    if target.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
        target.execute("BEGIN")
        for (member,) in target.execute("SELECT id FROM members").fetchall():
            release_owner(target, member)
        target.execute("DELETE FROM members")
        target.execute("COMMIT")
    messages = target.execute("SELECT count(*) FROM messages").fetchone()[0]
    return messages, target.execute("SELECT count(*) FROM dead").fetchone()[0]


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
