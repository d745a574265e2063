"""The retry budget: declared as a value, counted for each handler."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any

from waybill.clock import Clock
from waybill.errors import ConfigurationError
from waybill.message import Delivery
from waybill.retry import duration, seconds

__all__ = ["RetryBudget", "Spending"]

SLOTS = 10
"""Parts of the window that are counted by themselves: it slides by one of them."""
MARGIN = 1.0
"""Seconds before a message expires in which it is to be tried."""
LONGEST = 300.0
"""Seconds that a retry is put off at once at most; then it is asked anew."""


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """At most this share of a handler's handlings, of all topics it serves, are retries, so that failures do not multiply the load.

    least: retries a second that are granted whatever the share, at least one in a window: a quiet subscription goes on.
    window: seconds over which handlings are counted, in each process that consumes.

    When it is spent a retry is put off for longer than the policy says. No message is dead-lettered for it: one that
    expires soon, or nears its policy's `max_age`, is tried in time.
    """

    share: float = 0.2
    least: float = 1.0
    window: float | timedelta = 10.0

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, int | float) or not 0 <= self.share < 1:
            raise ConfigurationError(f"RetryBudget(share={self.share!r}): a share of the handlings, from 0 to below 1")
        if isinstance(self.least, bool) or not isinstance(self.least, int | float) or not 0 <= self.least < inf:
            raise ConfigurationError(f"RetryBudget(least={self.least!r}): retries a second, 0 or more")
        if not seconds(self.window, "RetryBudget: window") > 0:
            raise ConfigurationError(f"RetryBudget(window={self.window!r}): a time above 0")

    @property
    def always(self) -> float:
        """Retries in each window that are granted whatever the share."""
        return max(1.0, self.least * seconds(self.window, "window"))

    def __str__(self) -> str:
        window = duration(seconds(self.window, "window"))
        return f"at most {self.share:.0%} of the handlings, and {self.always:g} in {window} whatever they are"


class Spending:
    """What one handler has spent of its budget. See `Turn` for what it is asked."""

    def __init__(self, budget: RetryBudget, clock: Clock, max_age: float | None = None) -> None:
        """`clock`: what messages expire by. `max_age`: seconds after its first failure in which a message is tried again."""
        self._clock = clock
        self._max_age = inf if max_age is None else max_age
        self._share = budget.share
        self._always = budget.always
        self._window = seconds(budget.window, "window")
        self._slot = self._window / SLOTS
        self._slots: list[list[int]] = [[0, 0] for _ in range(SLOTS)]
        self._counted = [0, 0]
        """First handlings and retries, of all slots."""
        self._at = 0
        self._promised = 0.0

    @property
    def spent(self) -> bool:
        """Whether one more retry would be too many, as of what was counted last."""
        first, again = self._counted
        return again + 1 > self._share * (first + again + 1) + self._always

    def wait(self, delivery: Delivery[Any], now: float) -> float:
        return 0.0 if delivery.attempt == 1 else self.later(delivery, delivery.message.first_failure, now)

    def later(self, delivery: Delivery[Any], first_failure: datetime | None, now: float) -> float:
        """Seconds until a retry may be granted, each time later ones; 0: it may be now. Never so late that it is given up."""
        wait = self.put_off(now)
        return min(wait, self._left(delivery, first_failure)) if wait else 0.0

    def left(self, delivery: Delivery[Any]) -> float:
        return self._left(delivery, delivery.message.first_failure)

    def _left(self, delivery: Delivery[Any], first_failure: datetime | None) -> float:
        time, expires = self._clock.time(), delivery.message.expires
        left = inf if expires is None else expires.timestamp() - time - MARGIN
        if first_failure is not None:
            left = min(left, first_failure.timestamp() + self._max_age - time)
        return max(0.0, left)

    def take(self, delivery: Delivery[Any], now: float) -> None:
        self._slide(now)
        kind = delivery.attempt > 1
        self._counted[kind] += 1
        self._slots[self._at % SLOTS][kind] += 1

    def put_off(self, now: float) -> float:
        """The same for a message that may wait for ever."""
        self._slide(now)
        if not self.spent:
            return 0.0
        first, _ = self._counted
        rate = (self._always + self._share / (1 - self._share) * first) / self._window
        self._promised = min(max(now + self._slot, self._promised + 1 / rate), now + LONGEST)
        return self._promised - now

    def _slide(self, now: float) -> None:
        at = int(now / self._slot)
        if at == self._at:
            return
        for gone in range(self._at + 1, min(at, self._at + SLOTS) + 1):
            slot = self._slots[gone % SLOTS]
            self._counted[0] -= slot[0]
            self._counted[1] -= slot[1]
            slot[0] = slot[1] = 0
        self._at = max(at, self._at)
