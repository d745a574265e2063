"""Whose turn it is, among all who have the file open; and threads that wait for it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import threading
from asyncio import Future
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["FileTurn", "Helper", "MemoryTurn", "Turn", "fail", "succeed"]

R = TypeVar("R")


class Turn(Protocol):
    """What one at a time may have."""

    def try_take(self) -> bool: ...
    def take(self) -> None: ...
    def give(self) -> None: ...
    def close(self) -> None: ...


class FileTurn:
    """The turn among processes: `flock` on a file of its own. The kernel frees it when its holder dies.

    One open file has one such lock, whoever asks for it; so a plain lock keeps this engine's own users apart.

    A lock on a file that was cleaned away is worth nothing, since others make a new one: it is taken anew there, unless
    `check` objects, by raising.
    """

    def __init__(self, path: str, check: Callable[[], None]) -> None:
        self._path = path
        self._check = check
        self._fd = self._open()
        self._ours = threading.Lock()

    def try_take(self) -> bool:
        if not self._ours.acquire(blocking=False):
            return False
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._ours.release()
            return False
        except BaseException:
            self._ours.release()
            raise
        return True

    def take(self) -> None:
        self._ours.acquire()
        try:
            self._lock(fcntl.LOCK_EX)
        except BaseException:
            self._ours.release()
            raise

    def give(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._ours.release()

    def close(self) -> None:
        fd, self._fd = self._fd, -1  # whoever still wants the turn must not lock what has the number next
        os.close(fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _lock(self, how: int) -> None:
        fcntl.flock(self._fd, how)
        while not os.fstat(self._fd).st_nlink:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._check()
            fd = self._open()
            os.close(self._fd)
            self._fd = fd
            fcntl.flock(self._fd, how)


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
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(_pass_over)
            raise

    async def take(self, turn: Turn) -> None:
        """Take a turn; while it waits for that, this thread can do nothing else."""
        if not turn.try_take():
            await self.do(turn.take)

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
                self._tell(fail, future, error)
            else:
                self._tell(succeed, future, result)

    def _tell(self, say: Callable[[Future[Any], Any], None], future: Future[Any], what: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(say, future, what)
        except RuntimeError:
            return  # the loop is gone, and with it whoever waited


def succeed(future: Future[Any], result: Any) -> None:
    """Give the result to whoever still waits for it."""
    if not future.done():
        future.set_result(result)


def _pass_over(future: Future[Any]) -> None:
    """Nobody waits for it any more, whatever came of it."""
    if not future.cancelled():
        future.exception()


def fail(future: Future[Any], error: BaseException) -> None:
    """Raise the error where it is still waited for."""
    if not future.done():
        future.set_exception(error)
