"""What is opened at the first need of it, for many who come meanwhile, in the order in which they come."""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, Generic, TypeVar

__all__ = ["Entrance"]

T = TypeVar("T")

LEAVING = 1.0
"""Seconds that an opening which is cancelled is waited for."""


class Entrance(Generic[T]):
    """Opens once. Who comes while it is opened goes on in turn, and whoever comes later passes none of them.

    It is opened in a copy of `context`, not in that of whoever comes first: what a client library begins there lives on. An
    error goes to all who wait, and whoever comes then has it opened anew. When nobody waits any more, it is given up.
    """

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, T]], context: Context) -> None:
        self._opening = opening
        self._context = context
        self._line: deque[Future[T]] = deque()
        self._task: Task[T] | None = None
        self._found: T | None = None
        self.open: T | None = None
        """What was opened, once nobody waits for a turn any more."""

    async def enter(self) -> T:
        """What is opened. Raises whatever opening it raises."""
        if self.open is not None:
            return self.open
        turn: Future[T] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._begin()
        try:
            return await turn
        finally:
            if turn.cancelled():
                with suppress(ValueError):  # it is its turn just now
                    self._line.remove(turn)
                if not self._line:
                    self._give_up()

    async def close(self, error: Exception) -> None:
        """Open it no further: whoever waits is told `error`. Ends when the opening has, or after a second."""
        self._turn_away(error)
        if (task := self._task) is not None:
            self._give_up()
            await asyncio.wait([task], timeout=LEAVING)

    def _give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        if self._task is None and self._found is None:
            self._task = asyncio.get_running_loop().create_task(self._opening(), context=self._context.copy())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: Task[T]) -> None:
        self._task = None
        if task.cancelled():
            if self._line:  # somebody has come since
                self._begin()
        elif (error := task.exception()) is None:
            self._found = task.result()
            self._let_in()
        else:
            self._turn_away(error)

    def _turn_away(self, error: BaseException) -> None:
        line, self._line = self._line, deque()
        for turn in line:
            if not turn.done():
                turn.set_exception(error)

    def _let_in(self) -> None:
        """All who are here, and then those who have come meanwhile; only after the last of them is there no line any more."""
        if not self._line:
            self.open = self._found
            return
        line, self._line = self._line, deque()
        for turn in line:
            if not turn.done():
                turn.set_result(self._found)  # type: ignore[arg-type]
        asyncio.get_running_loop().call_soon(self._let_in)
