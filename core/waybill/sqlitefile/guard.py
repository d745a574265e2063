"""What can happen to a file under the hands of its users, noticed before anything is confirmed into it.

- Deleted, replaced or renamed: it stays open, and what is written to it goes where nobody will look for it. SQLite's log
  and its index (`-wal`, `-shm`) belong to it, and are watched like it.
- Brought to a later version by a newer Waybill: an older one must not go on writing the old form.
- Damaged, or on a full disk: what is stored there is no longer promised to be found, or cannot be settled any more.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence

from waybill.errors import BrokerError, BrokerFileError, BrokerUnavailable
from waybill.sqlitefile.outside import LOG_BEGINS, SIDES, free_space, size

__all__ = ["Guard", "keep_open", "least_free"]

COARSE = 100_000_000
"""Nanoseconds: the clock of a file system is coarse, and a fresh change of a folder may hide another."""
MOMENT = 0.01
"""Seconds for which it is enough to have looked."""
RESERVE = 32 << 20
"""Bytes of the disk, or a twentieth of it if that is less, that publishing leaves free: handing out and settling what is
stored need room too, and without it no consumer could ever make any."""

Identity = tuple[int, int]


class Guard:
    """Knows the files that were opened, and says what has become of them. For memory (`None`) all is always well."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._folder = os.path.dirname(path or "")  # noqa: PTH120 - beside the path, which is a text everywhere
        self._known: dict[str, Identity | None] = {}
        self._log = -1
        self._seen: tuple[int, int] | None = None
        """The folder, as it was when everything in it was found in place."""
        self._version = 0
        self._looked = float("-inf")
        self._damage: BrokerFileError | None = None
        self._measured = float("-inf")
        self._short: BrokerUnavailable | None = None

    def remember(self, connection: sqlite3.Connection) -> None:
        """The files as they are now, just opened: these they must stay."""
        if self._path is not None:
            self._known = {path: _identity(path) for path in (self._path, *(self._path + name for name in SIDES))}
            self._version = _version(connection)
            try:
                self._log = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise BrokerFileError(f"{self._path}: {_CUT.format(what=f'{self._path}-wal')}") from error

    def close(self) -> None:
        self._known = {}
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def look(self) -> None:
        """Raise `BrokerFileError` unless the files that are open still lie where they were opened, and the log is one.

        Costs one look at their folder, which changes with each name in it, and one at the log's first bytes.
        """
        if not self._known:
            return
        self._looked = float("-inf")  # until all is found in place: what was lost is not lost anew a moment later
        if self._cut_log():
            raise BrokerFileError(f"{self._path}: {_EMPTIED.format(what=f'{self._path}-wal')}")
        try:
            folder = os.stat(self._folder)  # noqa: PTH116 - with every commit: a Path costs more than the call
        except OSError as error:
            raise BrokerFileError(f"{self._path}: {_LOST.format(what=self._folder)} ({error.strerror})") from error
        seen = folder.st_ino, folder.st_ctime_ns
        if seen == self._seen:
            self._looked = time.monotonic()
            return
        for path, known in self._known.items():
            if _identity(path) != known:
                raise BrokerFileError(f"{self._path}: {(_LOST if path == self._path else _CUT).format(what=path)}")
        if time.time_ns() - folder.st_ctime_ns > COARSE:
            self._seen = seen

    def look_again(self) -> None:
        """`look`, unless that was done a moment ago."""
        if time.monotonic() - self._looked > MOMENT:
            self.look()

    def lost_log(self) -> bool:
        """Whether the log was deleted, and the file was not, and nobody has begun another log."""
        if self._path is None or self._path not in self._known:
            return False
        return _identity(f"{self._path}-wal") is None and _identity(self._path) == self._known[self._path]

    def must_not_close(self) -> bool:
        """Whether SQLite, closing the file, would do harm: delete a log that is somebody else's, or copy a hole into the file."""
        log = f"{self._path}-wal"
        return log in self._known and (_identity(log) not in {None, self._known[log]} or self._cut_log())

    def _cut_log(self) -> bool:
        """Whether somebody has emptied the log, and one of us has written behind the hole. An empty one can be in order."""
        beginning = os.pread(self._log, len(LOG_BEGINS), 0)
        return bool(beginning) and beginning != LOG_BEGINS

    def check_version(self, connection: sqlite3.Connection) -> None:
        """Raise `BrokerFileError` if a newer Waybill has changed the form of the file. Exact inside a transaction."""
        if self._known and (version := _version(connection)) != self._version:
            raise BrokerFileError(
                f"{self._path} was brought from version {self._version} to {version} by another version of Waybill while "
                f"this process had it open. Nothing more is written to it: restart this process with that version"
            )

    def note(self, error: BrokerError) -> None:
        """A write has failed because the file is damaged."""
        if self._damage is None:
            self._damage = BrokerFileError(f"{error}. Nothing more is stored in it by this process")

    def refusal(self) -> BrokerError | None:
        """Why nothing new should be stored now, though what is there can perhaps still be handed out and settled."""
        if self._damage is not None or not self._known:
            return self._damage
        now = time.monotonic()
        if now - self._measured > MOMENT:
            self._measured = now
            self._short = self._shortage()
        return self._short

    def _shortage(self) -> BrokerUnavailable | None:
        free, total = free_space(self._folder)
        least = least_free(str(self._path), total)
        if free >= least:
            return None
        return BrokerUnavailable(
            f"{self._path}: the disk is full ({free >> 10} KiB are free, and below {least >> 10} KiB nothing more is "
            f"stored, so that what is there can still be handled): make room; what was confirmed is safe"
        )


_LOST = (
    "{what} was deleted, moved or replaced while this process had it open. Nothing more is written, since nobody would find "
    "it there: put the file back, or restart all its processes, which then use what lies there"
)
_CUT = (
    "{what}, which belongs to it, was deleted or replaced while this process had it open. Nothing more is written: restart "
    "all processes that use the file"
)
_EMPTIED = (
    "{what}, which belongs to it, was emptied while this process had it open, and what it held is lost. Nothing more is "
    "written: stop all processes, and restore a backup, or go on with what the file itself has"
)


def least_free(path: str, total: int) -> int:
    """Bytes that must be free on a disk of `total` for something new to be stored.

    With those of the log: all it holds may have to find a place in the file before anything can be settled.
    """
    return min(RESERVE, total // 20) + size(f"{path}-wal")


def keep_open(connections: Sequence[sqlite3.Connection]) -> None:
    """Keep them as they are until the process ends: the interpreter, clearing up, leaves what a running thread holds."""

    def hold(_: Sequence[sqlite3.Connection]) -> None:
        threading.Event().wait()

    threading.Thread(target=hold, args=(connections,), name="waybill-left-open", daemon=True).start()


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
