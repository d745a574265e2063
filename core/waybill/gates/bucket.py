"""A token bucket. Pure: whoever calls brings the time, on `time.monotonic()`."""

from __future__ import annotations

__all__ = ["Bucket"]

LATE = 0.5
"""Tokens above the burst that are kept, so that a start which comes a little late delays none of those after it."""


class Bucket:
    """Tokens that come at `rate` a second, and are kept up to `burst`. New ones are full."""

    __slots__ = ("_promised", "_seen", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._seen = 0.0
        self._promised = 0.0

    def tokens(self, now: float) -> float:
        """How many there are."""
        passed = now - self._seen
        if passed > 0.0:
            self._seen = now
            self._tokens = min(self.burst + LATE, self._tokens + passed * self.rate)
        return self._tokens

    def take(self) -> None:
        """One of those that were seen last."""
        self._tokens -= 1.0

    def wait(self, now: float) -> float:
        """Seconds until there is one."""
        return max(0.0, (1.0 - self.tokens(now)) / self.rate)

    def promise(self, now: float) -> float:
        """Seconds to wait for a token; whoever asks next is told of a later one. Nothing is kept for those who ask."""
        earliest = now + self.wait(now)
        self._promised = max(earliest, self._promised + 1.0 / self.rate)
        return self._promised - now
