"""One connection, one writer: every change goes through `Engine.write`, and what comes together commits together.

Statements run on the event loop's own thread: they take microseconds, while a helper thread has to wait for the
interpreter lock, up to its switch interval of 5 ms, each time it is needed while a handler computes. Only what may take
long is handed to a helper: the flush to the disk of a durable commit, and waiting for the turn when another process has
it. While that lasts, new work gathers and shares the next commit: that is the group commit.

The turn is an operating-system lock beside the file, so that processes queue up for it in the kernel instead of polling
SQLite's lock. SQLite's own lock guards the file against everyone else.
"""

from __future__ import annotations

import asyncio
import sqlite3
from asyncio import Future, Task
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from waybill.errors import BrokerUnavailable, ClosedError
from waybill_embedded.file import Location, connect, foreign, mapped, prepare
from waybill_embedded.turn import FileTurn, Helper, MemoryTurn, Turn, fail, succeed

__all__ = ["Engine", "Work"]

R = TypeVar("R")
Work = Callable[[sqlite3.Connection], R]

LOG_FRAMES = 4_000
"""Pages in the write-ahead log at which it is copied into the file, about: 16 MB."""
LOG_LIMIT = 64 << 20
"""Bytes of log beyond which it is emptied, and readers are waited for."""
READERS = 1_000
"""Milliseconds that emptying the log waits for them."""
EMPTY_PAUSE = 30.0
"""Seconds between two tries to empty it."""
CLOSING = 5.0
"""Seconds that closing waits for what was asked for before."""
FOREIGN_PATIENCE = 5.0
"""Seconds that a program which is not ours may hold the file locked before writes fail."""


class Job:
    """One piece of work and who waits for it."""

    __slots__ = ("durable", "future", "work")

    def __init__(self, work: Work[Any], future: Future[Any], *, durable: bool) -> None:
        self.work = work
        self.future = future
        self.durable = durable


class Engine:
    """The file, open. Made and used on one event loop."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._jobs: list[Job] = []
        self._runner: Task[None] | None = None
        self._checkpointer: Task[None] | None = None
        self._synchronous = ""
        self._closed = False
        self._commits = 0
        self._every = 256
        """Commits after which the log is looked at; learnt from how many pages a commit has."""
        self._emptied = float("-inf")
        self._grown = LOG_FRAMES * 4096
        """Bytes of log at which it is looked at, however few the commits were."""

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        location = self.location
        try:
            self._turn: Turn = MemoryTurn(location.name) if location.path is None else FileTurn(f"{location.path}-turn")
        except OSError as error:
            raise foreign(_cannot_open(error), location) from error
        self._helper = Helper("waybill-embedded")
        with ExitStack() as undo, mapped(location):
            undo.callback(self._turn.close)
            undo.callback(self._helper.stop)
            self._writer = connect(location)
            undo.callback(self._writer.close)
            await self._take_turn(self._helper)
            try:
                prepare(self._writer, location)
            finally:
                self._turn.give()
            self.reader = self._writer if location.path is None else connect(location)
            undo.pop_all()

    async def close(self) -> None:
        """Finish what was asked for, copy the log into the file, and let go of everything."""
        self._closed = True
        running = [task for task in (self._runner, self._checkpointer) if task is not None]
        if running:
            _, stuck = await asyncio.wait(running, timeout=CLOSING)
            for task in stuck:
                task.cancel()  # another process holds the turn and does not let go
        for job in self._jobs:
            fail(job.future, ClosedError(f"{self.location.name}: the broker was closed before its turn came"))
        self._helper.stop()
        self._helper.join(1.0)
        if self.reader is not self._writer:
            self.reader.close()
        self._writer.close()
        self._turn.close()

    async def write(self, work: Work[R], *, durable: bool = False) -> R:
        """Run `work` in a transaction, together with what else has gathered; returns when it is committed.

        `durable`: and flushed to the disk, where the file asks for that. `work` may be run a second time, alone, when
        something else in its transaction failed. Raises `BrokerError`; then nothing of `work` is in the file, unless
        the commit itself was interrupted.
        """
        if self._closed:
            raise ClosedError(f"{self.location.name}: the broker was closed")
        future: Future[R] = self._loop.create_future()
        self._jobs.append(Job(work, future, durable=durable))
        if self._runner is None:
            self._runner = self._loop.create_task(self._run(), name="waybill-embedded-writer")
        return await future

    # ---------------------------------------------------------------- inside

    async def _run(self) -> None:
        try:
            while self._jobs:
                try:
                    await self._take_turn(self._helper)
                except OSError as error:
                    jobs, self._jobs = self._jobs, []
                    for job in jobs:
                        fail(job.future, foreign(_cannot_open(error), self.location))
                    continue
                try:
                    jobs, self._jobs = self._jobs, []
                    await self._commit(jobs)
                finally:
                    self._turn.give()
                self._look_at_log()
        finally:
            self._runner = None

    async def _take_turn(self, helper: Helper) -> None:
        """Take the turn; `helper` is the one that waits for it, and can do nothing else meanwhile."""
        if not self._turn.try_take():
            await helper.do(self._turn.take)

    async def _commit(self, jobs: list[Job]) -> None:
        durable = any(job.durable for job in jobs) and self.location.durable
        try:
            await self._begin(durable=durable)
        except sqlite3.Error as error:
            for job in jobs:
                fail(job.future, foreign(error, self.location))
            return
        results: list[Any] = []
        try:
            for job in jobs:
                results.append(job.work(self._writer))  # noqa: PERF401 - what was done so far counts if one fails
            if durable:
                await self._helper.do(self._writer.commit)
            else:
                self._writer.commit()
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked for the work must hear of it
            self._rollback()
            if len(jobs) > 1:
                for job in jobs:
                    await self._commit([job])
                return
            fail(jobs[0].future, foreign(error, self.location) if isinstance(error, sqlite3.Error) else error)
            return
        for job, result in zip(jobs, results, strict=True):
            succeed(job.future, result)

    async def _begin(self, *, durable: bool) -> None:
        synchronous = "FULL" if durable else "NORMAL"
        if synchronous != self._synchronous and self.location.path is not None:
            self._writer.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        end = self._loop.time() + FOREIGN_PATIENCE
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not isinstance(foreign(error, self.location), BrokerUnavailable) or self._loop.time() > end:
                    raise
                await asyncio.sleep(0.01)  # not one of ours, or it would wait for its turn: a shell, a backup
            else:
                return

    def _rollback(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.rollback()
        except sqlite3.Error:
            pass  # the next BEGIN says it, to whoever asks then

    # ---------------------------------------------------------------- the write-ahead log

    def _look_at_log(self) -> None:
        self._commits += 1
        if self._checkpointer is not None or self.location.path is None or self._closed:
            return
        if self._commits >= self._every or (self._commits % 16 == 0 and self._log_size() > self._grown):
            self._checkpointer = self._loop.create_task(self._checkpoint(), name="waybill-embedded-checkpoint")

    async def _checkpoint(self) -> None:
        """Copy the log into the file beside the writers; then, in a turn of our own, the little they have added.

        SQLite starts a log anew when a writer finds all of it copied, and beside writers without a pause that moment never
        comes by itself. Emptying the file would hold the turn ten times as long, so that is done only when readers have let
        it grow beyond `LOG_LIMIT`, and then readers are waited for.
        """
        helper = Helper("waybill-embedded-checkpoint")
        try:
            frames = await helper.do(lambda: self._copy_log("PASSIVE"))
            await self._take_turn(helper)
            try:
                await helper.do(lambda: self._copy_log("PASSIVE"))
                now = self._loop.time()
                if now - self._emptied > EMPTY_PAUSE and self._log_size() > LOG_LIMIT:
                    self._emptied = now
                    await helper.do(lambda: self._copy_log("TRUNCATE"))
            finally:
                self._turn.give()
            if frames:  # none: another process is copying, or has just begun the log anew
                a_commit = max(frames / self._commits, 1)
                self._every = max(int(LOG_FRAMES / a_commit), 64)
        except sqlite3.Error:
            pass  # somebody else is at it, or the disk is in trouble, which the next commit will tell
        finally:
            self._commits = 0
            self._grown = self._log_size() + LOG_FRAMES * 4096
            self._checkpointer = None
            helper.stop()

    def _copy_log(self, mode: str) -> int:
        """The frames that the log had."""
        assert self.location.path is not None  # noqa: S101 - memory has no log
        connection = sqlite3.connect(self.location.path, isolation_level=None)
        try:
            connection.execute(f"PRAGMA busy_timeout = {READERS}")
            row = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            return max(0, int(row[1]))
        finally:
            connection.close()

    def _log_size(self) -> int:
        try:
            return Path(f"{self.location.path}-wal").stat().st_size
        except FileNotFoundError:
            return 0


def _cannot_open(error: OSError) -> sqlite3.Error:
    cannot = sqlite3.OperationalError(str(error))
    cannot.sqlite_errorname = "SQLITE_CANTOPEN"
    return cannot
