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
import fcntl
import os
import queue
import sqlite3
import threading
from asyncio import Future, Task
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

from waybill.errors import BrokerFileError, BrokerUnavailable, ClosedError
from waybill_embedded.file import Location, connect, foreign, mapped, prepare

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

_open: list[str] = []
_inherited: set[str] = set()
"""Files that were open when this process was forked: SQLite believes here that it holds the parent's locks."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _inherited.update(_open))


class Turn(Protocol):
    """Whose turn it is to write, among all who have the file open."""

    def try_take(self) -> bool: ...
    def take(self) -> None: ...
    def give(self) -> None: ...
    def close(self) -> None: ...


class FileTurn:
    """The turn among processes: `flock` on a file of its own. The kernel frees it when its holder dies.

    One open file has one such lock, whoever asks for it; so a plain lock keeps this engine's own users apart.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._ours = threading.Lock()

    def try_take(self) -> bool:
        if not self._ours.acquire(blocking=False):
            return False
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._ours.release()
            return False
        except OSError:
            self._ours.release()
            raise
        return True

    def take(self) -> None:
        self._ours.acquire()
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError:
            self._ours.release()
            raise

    def give(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._ours.release()

    def close(self) -> None:
        os.close(self._fd)


class MemoryTurn:
    """The turn among the applications of one process that share a memory bus by its name."""

    _locks: dict[str, threading.Lock] = {}  # noqa: RUF012 - one for all instances: that is its purpose

    def __init__(self, name: str) -> None:
        self._lock = self._locks.setdefault(name, threading.Lock())

    def try_take(self) -> bool:
        return self._lock.acquire(blocking=False)

    def take(self) -> None:
        self._lock.acquire()

    def give(self) -> None:
        self._lock.release()

    def close(self) -> None:
        pass


class Helper:
    """A thread that does one thing at a time. A daemon: waiting for a turn must not keep a process from ending."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def do(self, job: Callable[[], R]) -> R:
        future: Future[R] = self._loop.create_future()
        self._jobs.put((job, future))
        return await asyncio.shield(future)

    def stop(self) -> None:
        self._jobs.put(None)

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits
                self._tell(_fail, future, error)
            else:
                self._tell(_succeed, future, result)

    def _tell(self, say: Callable[[Future[Any], Any], None], future: Future[Any], what: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(say, future, what)
        except RuntimeError:
            return  # the loop is gone, and with it whoever waited


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
        if location.path in _inherited:
            raise BrokerFileError(
                f"{location.path}: this process was forked from one that had the file open, and would lose messages: "
                f"fork first and connect afterwards, or start processes with multiprocessing's `spawn`"
            )
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
        if location.path is not None:
            _open.append(location.path)

    async def close(self) -> None:
        """Finish what was asked for, copy the log into the file, and let go of everything."""
        self._closed = True
        running = [task for task in (self._runner, self._checkpointer) if task is not None]
        if running:
            _, stuck = await asyncio.wait(running, timeout=CLOSING)
            for task in stuck:
                task.cancel()  # another process holds the turn and does not let go
        for job in self._jobs:
            _fail(job.future, ClosedError(f"{self.location.name}: the broker was closed before its turn came"))
        self._helper.stop()
        self._helper.join(1.0)
        if self.reader is not self._writer:
            self.reader.close()
        self._writer.close()
        self._turn.close()
        if self.location.path is not None:
            _open.remove(self.location.path)

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
                        _fail(job.future, foreign(_cannot_open(error), self.location))
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
                _fail(job.future, foreign(error, self.location))
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
            _fail(jobs[0].future, foreign(error, self.location) if isinstance(error, sqlite3.Error) else error)
            return
        for job, result in zip(jobs, results, strict=True):
            _succeed(job.future, result)

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


def _succeed(future: Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
