"""So many a second, and no more: when the next may go."""

from __future__ import annotations

import asyncio

from waybill.errors import ConfigurationError

__all__ = ["BATCH", "Pace"]

BATCH = 500
"""Taken or sent at once, at most."""
TURN = 10.0
"""Seconds that sending one batch may take at the wanted rate; a smaller one is taken where it would take longer."""
TICK = 0.1
"""Seconds' worth sent together where there is a rate."""
OWED = 5.0
"""Seconds' worth that may be caught up after the broker was slow, …"""
HASTE = 1.25
"""… so much faster than the rate at most, so that they do not come as a burst."""


class Pace:
    """When the next may go. The n-th goes n / rate seconds after `next` was first asked, and not before; what is late is caught
    up, but not what it took to begin.

    rate: so many a second; `None`: as they come. Raises `ConfigurationError` for one that is not above 0.
    """

    def __init__(self, rate: float | None, *, of: str) -> None:
        if rate is not None and not 0 < rate < float("inf"):
            raise ConfigurationError(f"rate={rate!r}: {of} per second, above 0; None for no limit")
        self._rate = rate
        self._now = asyncio.get_running_loop().time
        self._due = self._last = float("-inf")
        self.chunk = BATCH if rate is None else max(1, min(BATCH, int(rate * TICK)))
        """How many go together."""
        self.batch = BATCH if rate is None else max(1, min(BATCH, int(rate * TURN)))
        """How many are taken together."""

    def next(self, count: int) -> float:
        """When `count` more may go, on the loop's clock."""
        now = self._now()
        if self._rate is None:
            return now
        if self._last == float("-inf"):
            self._due = self._last = now
        turn = count / self._rate
        self._due = max(self._due, now - OWED) + turn
        self._last = max(self._due, max(self._last, now - turn) + turn / HASTE)
        return self._last
