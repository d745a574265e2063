"""What time it is, for everything that is due, expires or ages.

Leases, deadlines and back-off run on the event loop's own clock and need no seam; only what a user would have to wait
hours for in a test goes through here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "TestClock"]


class Clock(Protocol):
    """Tells the time. A clock that can jump tells those who wait for a time that it did."""

    def time(self) -> float:
        """Seconds since the epoch (UTC)."""
        ...

    def on_jump(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each jump. A clock that never jumps may ignore it."""
        ...


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        return time.time()

    def on_jump(self, listener: Callable[[], None]) -> None:
        pass


class TestClock:
    """Stands still until it is told to move, so that a retry an hour away runs at once."""

    __test__ = False  # pytest: not a test class

    def __init__(self, start: datetime | None = None) -> None:
        self._now = (start or datetime.now(UTC)).timestamp()
        self._listeners: list[Callable[[], None]] = []

    def time(self) -> float:
        return self._now

    def on_jump(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def advance(self, seconds: float) -> None:
        """Move forward; a clock never goes back."""
        if seconds < 0:
            raise ValueError(f"a clock moves forward only, not by {seconds} s")
        self._now += seconds
        for listener in self._listeners:
            listener()
