"""Handlers at once, shared by several subscriptions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from waybill.errors import ConfigurationError
from waybill.gates.gate import Failure

__all__ = ["Bulkhead"]


class Bulkhead:
    """Something that bears so many handlers at once, of all the subscriptions in this process that name it.

    Whoever had to wait longest is the next: none of them starves. One object serves one event loop. See `Gate` for what a
    consumer asks of it.
    """

    shut = None
    """It is only busy."""

    def __init__(self, name: str, handlers: int) -> None:
        """Raises `ConfigurationError`."""
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ConfigurationError(f"Bulkhead({name!r}, …): name what it protects, e.g. Bulkhead('database', 20)")
        if isinstance(handlers, bool) or not isinstance(handlers, int) or handlers < 1:
            raise ConfigurationError(f"Bulkhead({name!r}, {handlers!r}): at least 1 handler at once")
        self.name = name
        self.handlers = handlers
        self.running = 0
        """Handlers at work now."""
        self._members: deque[Callable[[], None]] = deque()
        self._refused = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def join(self, on_open: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._members and self._loop is not None and self._loop.is_running():
                raise ConfigurationError(
                    f"Bulkhead({self.name!r}, …) is used in another event loop: one object serves one"
                )
            self._members.clear()  # that loop was thrown away, and what ran there
            self.running = 0
        self._loop = loop
        self._members.append(on_open)

    def leave(self, on_open: Callable[[], None]) -> None:
        if on_open in self._members:
            self._members.remove(on_open)

    def wanted(self, number: int, waiting: int) -> int:
        if self.running < self.handlers or waiting < self.handlers:
            return number
        self._refused = True
        return 0

    def free(self, now: float) -> bool:
        del now
        if self.running < self.handlers:
            return True
        self._refused = True
        return False

    def start(self, now: float) -> None:
        del now
        self.running += 1

    def end(self, now: float, took: float, failures: Sequence[Failure] | None, number: int) -> None:
        pass

    def gone(self) -> None:
        self.running = max(0, self.running - 1)  # it may have begun on a loop before
        if self._refused:
            self._offer()

    def forgives(self, failure: Failure, began: float) -> bool:
        del failure, began
        return False

    def _offer(self) -> None:
        """Let members start what they can, in the order in which they had to wait; who could goes to the end."""
        self._refused = False
        for member in tuple(self._members):
            before = self.running
            member()
            if self.running > before and member in self._members:
                self._members.remove(member)
                self._members.append(member)
            if self.running >= self.handlers:
                self._refused = True
                return

    def __str__(self) -> str:
        return f"{self.name}: at most {self.handlers} at once, of all that share it"
