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
import os
import sqlite3
from asyncio import Future, Task
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from copy import copy
from typing import Any, TypeVar

from waybill.errors import BrokerError, BrokerFileError, ClosedError
from waybill.sqlitefile.form import code_of, is_locked
from waybill.sqlitefile.guard import Guard, keep_open
from waybill.sqlitefile.outside import check_log, cut_off
from waybill_embedded.checkpointing import Checkpointer
from waybill_embedded.file import (
    InDoubt,
    Location,
    check_owner,
    connect,
    connect_again,
    foreign,
    mapped,
    prepare,
)
from waybill_embedded.turn import FileTurn, Helper, MemoryTurn, Turn, fail, succeed

__all__ = ["Engine", "Work"]

R = TypeVar("R")
Work = Callable[[sqlite3.Connection], R]

CLOSING = 5.0
"""Seconds that closing waits for what was asked for before."""
MOMENT = 0.1
"""Seconds that it waits where nobody waits for anything."""
LONG = 0.5
"""Seconds for which nobody of ours has the turn, unless somebody who is not has the file locked."""
FOREIGN_PATIENCE = 5.0
"""Seconds that a program which is not ours may hold the file locked before writes fail."""
LOOK = 1.0
"""Seconds between two looks whether the file is still there, where nothing is written."""


_open: list[str] = []
_inherited: set[str] = set()
"""Files that were open when this process was forked: SQLite believes here that it holds the parent's locks."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _inherited.update(_open))


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
        self._guard = Guard(location.path)
        self._jobs: list[Job] = []
        self._runner: Task[None] | None = None
        self._synchronous = ""
        self._closed = False
        self._locked = False
        """Whether a program that is not ours holds the file now, and something of ours waits for it."""
        self._queues: float | None = None
        """Since when the turn is waited for, and nothing begun."""
        self._next_look = float("-inf")
        self._log: Checkpointer | None = None
        """`None`: memory has none."""

    async def open(self) -> None:
        """Open the file, make it if there is none, bring it up to date. Raises `BrokerError`."""
        self._loop = asyncio.get_running_loop()
        location = self.location
        if location.path in _inherited:
            raise BrokerFileError(
                f"{location.path}: this process was forked from one that had the file open, and would lose messages: "
                f"fork first and connect afterwards, or start processes with multiprocessing's `spawn`"
            )
        if location.path is not None:
            check_log(location.path)
            await self._others_have_a_log(location.path)
        self._helper = Helper("waybill-embedded")
        with ExitStack() as undo, mapped(location):
            undo.callback(self._helper.stop)
            self._writer = connect(location)
            undo.callback(self._writer.close)
            end = self._loop.time() + FOREIGN_PATIENCE
            await self._patiently(lambda: check_owner(self._writer, location), end)
            self._turn, self._copying = self._turns()
            undo.callback(self._turn.close)
            undo.callback(self._copying.close)
            undo.callback(self._guard.close)
            await self._helper.take(self._turn)
            try:
                await self._patiently(lambda: prepare(self._writer, location), end)
                self._guard.remember(self._writer)
            finally:
                self._turn.give()
            if location.path is None:
                self._reader = self._writer
            else:
                self._reader = connect_again(location)
                undo.callback(self._reader.close)
                self._log = Checkpointer(location, self._turn, self._copying, self._writer.total_changes)
            undo.pop_all()
        if location.path is not None:
            _open.append(location.path)

    async def _others_have_a_log(self, path: str) -> None:
        """Raise `BrokerFileError` if not, and not only for a moment, as when the first begins or the last ends."""
        end = self._loop.time() + LOOK
        while others := cut_off(path):
            if self._loop.time() > end:
                raise BrokerFileError(
                    f"{path}: its log {path}-wal was deleted while others have the file open: {', '.join(others)}. Stop them "
                    f"first: they copy what it held into the file"
                )
            await asyncio.sleep(0.02)

    def _turns(self) -> tuple[Turn, Turn]:
        """The turn to write, and the turn to copy the log."""
        name, path = self.location.name, self.location.path
        if path is None:
            turn = MemoryTurn(name)
            return turn, turn  # it has no log
        try:
            return FileTurn(f"{path}-turn", self._guard.look), FileTurn(f"{path}-checkpoint", self._guard.look)
        except OSError as error:
            raise foreign(_cannot_open(error), self.location) from error

    async def _patiently(self, step: Callable[[], object], end: float) -> None:
        """Do `step`; until `end`, or until the file is closed, again and again while somebody who is not ours holds it locked:
        a shell, a backup."""
        try:
            while True:
                try:
                    step()
                except sqlite3.OperationalError as error:
                    if not is_locked(error) or self._loop.time() > end or self._closed:
                        raise
                    self._locked = True
                    await asyncio.sleep(0.01)
                else:
                    return
        finally:
            self._locked = False

    @property
    def held_up(self) -> bool:
        """Whether somebody has had the file for longer than any of us does."""
        return self._locked or (self._queues is not None and self._loop.time() - self._queues > LONG)

    @property
    def reader(self) -> sqlite3.Connection:
        """To read from outside a turn, for hints and counts. Raises `BrokerFileError` if the file is no more what it was."""
        now = self._loop.time()
        if now > self._next_look:
            try:
                self._guard.look()
            except BrokerError:
                self._rescue()
                raise
            with mapped(self.location):
                self._guard.check_version(self._reader)
            self._next_look = now + LOOK
        return self._reader

    async def close(self) -> None:
        """Finish what was asked for, copy the log into the file, and let go of everything."""
        self._closed = True
        copying = None
        if self._log is not None:
            self._log.closed, copying = True, self._log.task
        running = [task for task in (self._runner, copying) if task is not None]
        if running:
            nobody_waits = self._queues is not None and all(job.future.done() for job in self._jobs)
            _, stuck = await asyncio.wait(running, timeout=MOMENT if nobody_waits else CLOSING)
            for task in stuck:
                task.cancel()  # another process holds the turn and does not let go
            if stuck:
                await asyncio.wait(stuck, timeout=CLOSING)  # or it would give back a turn that is closed
        for job in self._jobs:
            fail(job.future, ClosedError(f"{self.location.name}: the broker was closed before its turn came"))
        self._helper.stop()
        self._helper.join(1.0 if self._queues is None else MOMENT)
        connections = [self._writer] if self._log is None else [self._log.connection, self._reader, self._writer]
        if self._guard.must_not_close():
            keep_open(connections)
            connections = []
        for connection in connections:
            connection.close()
        self._guard.close()
        self._turn.close()
        self._copying.close()
        if self.location.path is not None:
            _open.remove(self.location.path)

    async def write(self, work: Work[R], *, durable: bool = False) -> R:
        """Run `work` in a transaction, together with what else has gathered; returns when it is committed.

        `durable`: something new is stored; when this returns it is on the disk, where the file asks for that, and the file
        is where others will look for it. Refused where it could not be handled afterwards. `work` may be run a second time,
        alone, when something else in its transaction failed. Raises `BrokerError`; then nothing of `work` is in the file,
        unless that is `InDoubt`.
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
                end = self._loop.time() + FOREIGN_PATIENCE
                self._queues = self._loop.time()
                try:
                    await self._helper.take(self._turn)
                    self._queues = None
                except (OSError, BrokerError) as error:
                    jobs, self._jobs = self._jobs, []
                    self._fail(jobs, error if isinstance(error, BrokerError) else _cannot_open(error))
                    self._rescue()
                    continue
                try:
                    jobs, self._jobs = self._jobs, []
                    await self._in_turn(jobs, end)
                finally:
                    self._turn.give()
        finally:
            self._runner = None

    async def _in_turn(self, jobs: list[Job], end: float) -> None:
        try:
            self._guard.look_again()
        except BrokerError as error:
            self._fail(jobs, error)
            self._rescue()
            return
        if (refusal := self._guard.refusal()) is not None:
            self._fail([job for job in jobs if job.durable], refusal)
            jobs = [job for job in jobs if not job.durable]
        with nullcontext() if self._log is None else self._log.around_commit():
            await self._commit(jobs, end)

    async def _commit(self, jobs: list[Job], end: float) -> None:
        if not jobs:
            return
        durable = any([job.durable for job in jobs])  # noqa: C419 - most often there are one or two
        try:
            await self._begin(end, durable=durable)
        except (sqlite3.Error, BrokerError) as error:
            self._rollback()
            self._fail(jobs, error)
            return
        results: list[Any] = []
        try:
            for job in jobs:
                results.append(job.work(self._writer))  # noqa: PERF401 - what was done so far counts if one fails
            if durable and self.location.durable:
                await self._helper.do(self._writer.commit)
            else:
                self._writer.commit()
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked for the work must hear of it
            self._rollback()
            await self._not_done(jobs, error, end, committing=len(results) == len(jobs))
            return
        if self._log is not None:
            self._log.committed(self._writer.total_changes)
        if durable:
            try:
                self._guard.look()  # once more: it could have gone into a file that nobody will find
            except BrokerError as error:
                self._fail([job for job in jobs if job.durable], _doubt(error))
        for job, result in zip(jobs, results, strict=True):
            succeed(job.future, result)

    async def _not_done(self, jobs: list[Job], error: Exception, end: float, *, committing: bool) -> None:
        """What was begun for these was taken back. Try again where that may help, else say so to those who wait."""
        code = code_of(error) if isinstance(error, sqlite3.Error) else ""
        if code == "SQLITE_FULL" and self._log is not None and await self._log.make_room(self._helper):
            await self._commit(jobs, end)
        elif (
            committing and code.startswith("SQLITE_IOERR") and code != "SQLITE_IOERR_WRITE"
        ):  # written, but not flushed
            self._fail(jobs, _doubt(self._mapped(error)))
        elif len(jobs) > 1:
            for job in jobs:
                await self._commit([job], end)
        else:
            self._fail(jobs, error)

    def _fail(self, jobs: list[Job], error: Exception) -> None:
        error = self._mapped(error)
        for job in jobs:
            fail(job.future, copy(error) if len(jobs) > 1 else error)  # each is raised by itself

    def _mapped(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        ours = foreign(error, self.location)
        if code_of(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            self._guard.note(ours)
        return ours

    async def _begin(self, end: float, *, durable: bool) -> None:
        synchronous = "FULL" if durable and self.location.durable else "NORMAL"
        if synchronous != self._synchronous and self.location.path is not None:
            self._writer.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            await self._patiently(lambda: self._writer.execute("BEGIN IMMEDIATE"), end)
        self._guard.check_version(self._writer)

    def _rollback(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.rollback()
        except sqlite3.Error:
            pass  # the next BEGIN says it, to whoever asks then

    def _rescue(self) -> None:
        if self._log is not None and self._guard.lost_log():
            self._log.rescue()


def _doubt(error: Exception) -> InDoubt:
    return InDoubt(f"{error}. What was just being written may be found there later, or not")


def _cannot_open(error: OSError) -> sqlite3.Error:
    cannot = sqlite3.OperationalError(str(error))
    cannot.sqlite_errorname = "SQLITE_CANTOPEN"
    return cannot
