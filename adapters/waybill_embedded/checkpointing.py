"""When SQLite's write-ahead log is copied into the file: beside the writers, and by one process at a time.

SQLite starts a log anew when a writer finds all of it copied, and beside writers without a pause that moment never comes by
itself. So it is copied twice: first beside them, then, in a turn of our own, the little they have added. Emptying the file
would hold the turn ten times as long, so that is done only when readers have let it grow beyond `LOG_LIMIT`, and then
readers are waited for.

SQLite before 3.51.3 (3.50.7, 3.44.6) loses commits when copying begins at the very moment at which a writer starts the log
anew (sqlite.org/wal.html, "the WAL-reset bug"). That cannot be here: the turn to copy is taken before our last commit, so
part of the log has not been copied, and until it is no writer may start anew.
"""

from __future__ import annotations

import asyncio
import sqlite3
from asyncio import Task
from collections.abc import Generator
from contextlib import contextmanager, suppress

from waybill.errors import BrokerError
from waybill.sqlitefile.form import look
from waybill.sqlitefile.outside import size
from waybill_embedded.file import Location, connect_again
from waybill_embedded.turn import Helper, Turn

__all__ = ["Checkpointer"]

LOG_FRAMES = 4_000
"""Pages in the write-ahead log at which it is copied into the file, about: 16 MB."""
LOG_LIMIT = 64 << 20
"""Bytes of log beyond which it is emptied, and readers are waited for."""
READERS = 1_000
"""Milliseconds that emptying the log waits for them."""
EMPTY_PAUSE = 30.0
"""Seconds between two tries to empty it."""
ROOM_PAUSE = 0.2
"""Seconds between two tries to make room in the log on a full disk."""


class Checkpointer:
    """Copies the log of one open file when enough was committed to it."""

    task: Task[None] | None = None
    """The copying that is under way."""

    def __init__(self, location: Location, turn: Turn, copying: Turn, changes: int) -> None:
        """`turn`: to write. `copying`: to copy the log. `changes`: as in `committed`."""
        self.connection = connect_again(location)
        self.connection.execute(f"PRAGMA busy_timeout = {READERS}")
        self.closed = False
        """Begin none any more."""
        self._log = f"{location.path}-wal"
        self._turn = turn
        self._copying = copying
        self._loop = asyncio.get_running_loop()
        self._ours = False
        """Whether the turn to copy the log is ours already."""
        self._commits = 0
        """Commits that changed something, since the log was last copied."""
        self._changes = changes
        self._every = 256
        """Commits after which the log is looked at; learnt from how many pages a commit has."""
        self._emptied = float("-inf")
        self._grown = LOG_FRAMES * 4096
        """Bytes of log at which it is looked at, however few the commits were."""
        self._next_room = float("-inf")

    def committed(self, changes: int) -> None:
        """A transaction was committed; `changes`: the rows that this process has changed until now."""
        if changes != self._changes:
            self._changes = changes
            self._commits += 1

    @contextmanager
    def around_commit(self) -> Generator[None, None, None]:
        """Where the log is due, begin to copy it when the block has committed something."""
        self._ours = self._is_due() and self._copying.try_take()
        before = self._commits
        try:
            yield
        finally:
            if self._ours and self._commits > before and not self.closed:
                self.task = self._loop.create_task(self._checkpoint(), name="waybill-embedded-checkpoint")
            elif self._ours:
                self._copying.give()
            self._ours = False

    def _is_due(self) -> bool:
        if self.task is not None or self.closed:
            return False
        return self._commits >= self._every or (self._commits % 16 == 15 and size(self._log) > self._grown)

    async def _checkpoint(self) -> None:
        helper = Helper("waybill-embedded-checkpoint")
        try:
            frames = await helper.do(lambda: self._copy("PASSIVE"))
            await self._turn_of_our_own(helper)
            if frames:  # none: a program that is not ours is copying
                a_commit = max(frames / self._commits, 1)
                self._every = max(int(LOG_FRAMES / a_commit), 64)
        except (sqlite3.Error, OSError, BrokerError):
            pass  # the disk is in trouble, or the file is gone, which the next commit will tell
        finally:
            self._commits = 0
            self._grown = size(self._log) + LOG_FRAMES * 4096
            self.task = None
            self._copying.give()
            helper.stop()

    async def _turn_of_our_own(self, helper: Helper) -> None:
        """Copy what writers have added meanwhile, and empty the log where it is too large."""
        await helper.take(self._turn)
        try:
            await helper.do(lambda: self._copy("PASSIVE"))
            now = self._loop.time()
            if now - self._emptied > EMPTY_PAUSE and size(self._log) > LOG_LIMIT:
                self._emptied = now
                await helper.do(lambda: self._copy("TRUNCATE"))
        finally:
            self._turn.give()

    async def make_room(self, helper: Helper) -> bool:
        """On a full disk: copy the log into the file, so that it is begun anew in the place it has. Whether to try again."""
        now = self._loop.time()
        if now < self._next_room or not (self._ours or self._copying.try_take()):
            return False
        self._next_room = now + ROOM_PAUSE
        try:
            await helper.do(lambda: self._copy("PASSIVE"))
        except (sqlite3.Error, BrokerError):
            return False
        finally:
            if not self._ours:
                self._copying.give()
        return True

    def rescue(self) -> None:
        """The log was deleted, and nobody has begun another: what it holds can still be copied into the file."""
        with suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _copy(self, mode: str) -> int:
        """The frames that the log had."""
        # marks the end of the log for readers: those who come from now on do not hold the copying up
        look(self.connection)
        row = self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return max(0, int(row[1]))
