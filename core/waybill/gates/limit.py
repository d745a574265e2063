"""Rate limits: declared as a value, counted for each handler by a gate of its own, or by a turn for each key."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil, inf
from typing import Any, Literal

from waybill.errors import ConfigurationError
from waybill.gates.bucket import Bucket
from waybill.gates.gate import Failure
from waybill.message import Delivery, Message
from waybill.retry import duration, seconds

__all__ = ["KeyLimiter", "Limiter", "RateLimit"]

log = logging.getLogger("waybill.limit")

AHEAD = 1.0
"""Seconds: what starts within them may be fetched already."""
KEYS = 10_000
"""Keys that have a bucket of their own; beyond them, keys that are not known share …"""
SHARED = 256
"""… so many: they may be limited more than was asked for, never less."""
UNKNOWN = -1
"""The bucket of all messages for which the user's function fails."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `number` handlings start in `per` seconds, in each process that consumes, of all topics that one handler serves.

    burst: how many may start at once after a pause. Default: a tenth of a second's worth, at least 1.
    by: for each key of its own, `"key"` or a function of the message; messages for which it says `None` are not limited.
    While one key waits the others pass; what is ordered keeps its order. Default: for the handler as a whole.

    Without `by` nothing is fetched that could not start soon. With it, what has to wait longer than a few seconds, or for which there
    is no room here, waits at the broker, at no cost in attempts; what is ordered waits here, its lease renewed. A batch counts
    once, and has no `by`.
    """

    number: float
    per: float | timedelta = 1.0
    burst: int | None = None
    by: Literal["key"] | Callable[[Message], str | None] | None = None

    def __post_init__(self) -> None:
        number = self.number
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < inf:
            raise ConfigurationError(f"RateLimit({number!r}): a number of handlings above 0")
        if not seconds(self.per, "RateLimit: per") > 0:
            raise ConfigurationError(f"RateLimit({number:g}, per={self.per!r}): a time above 0")
        if self.burst is not None and (
            isinstance(self.burst, bool) or not isinstance(self.burst, int) or self.burst < 1
        ):
            raise ConfigurationError(
                f"RateLimit({number:g}, burst={self.burst!r}): at least 1 at once, or nothing starts"
            )
        if self.by not in (None, "key") and not callable(self.by):
            raise ConfigurationError(f"RateLimit({number:g}, by={self.by!r}): 'key', or a function of the message")

    @property
    def rate(self) -> float:
        """Handlings a second."""
        return self.number / seconds(self.per, "per")

    @property
    def most(self) -> int:
        """Those that may start at once."""
        return self.burst if self.burst is not None else max(1, int(self.rate / 10))

    def held(self, concurrency: int, timeout: float | None) -> int:
        """How many messages a consumer can make use of: those that run, each at most `timeout` seconds, and the next."""
        running = concurrency if timeout is None else min(concurrency, ceil(self.rate * timeout))
        return running + self.most + ceil(min(self.rate, 1e9) * AHEAD)

    def __str__(self) -> str:
        each = "" if self.by is None else " for each key" if self.by == "key" else f" by {_name(self.by)}"
        return f"{self.number:g} in {duration(seconds(self.per, 'per'))}{each}, {self.most} at once"

    def bucket(self) -> Bucket:
        return Bucket(self.rate, self.most)


def _name(by: object) -> str:
    return getattr(by, "__name__", "a function")


class Limiter:
    """The limit of one handler as a whole, of all the topics it serves. See `Gate` for what it is asked."""

    shut = None
    """It lets something through all the time."""

    def __init__(self, limit: RateLimit, *, batch: int = 1) -> None:
        """`batch`: messages that start at once."""
        self._bucket = limit.bucket()
        self._batch = batch
        self._timer: asyncio.TimerHandle | None = None
        self._members: deque[Callable[[], None]] = deque()

    def join(self, on_open: Callable[[], None]) -> None:
        self._members.append(on_open)
        self._loop = asyncio.get_running_loop()

    def leave(self, on_open: Callable[[], None]) -> None:
        if on_open in self._members:
            self._members.remove(on_open)
        if self._timer is not None and not self._members:
            self._timer.cancel()

    def wanted(self, number: int, waiting: int) -> int:
        now = self._loop.time()
        soon = self._bucket.tokens(now) + self._bucket.rate * AHEAD
        if self._batch > 1:  # a whole one, or the next token would start a part of it
            soon = max(1.0, soon)
        more = min(number, int(soon * self._batch) - waiting)
        if waiting >= self._batch:
            return more if more * 3 >= waiting else 0  # fetched in few calls: a quarter of them at once
        if more < 1:
            self._open_in((1.0 - soon) / self._bucket.rate)
        return max(0, more)

    def free(self, now: float) -> bool:
        if self._bucket.tokens(now) >= 1.0:
            return True
        self._open_in(self._bucket.wait(now))
        return False

    def start(self, now: float) -> None:
        del now
        self._bucket.take()

    def end(self, now: float, took: float, failures: Sequence[Failure] | None, number: int) -> None:
        pass

    def gone(self) -> None:
        pass

    def forgives(self, failure: Failure, began: float) -> bool:
        del failure, began
        return False

    def _open_in(self, wait: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(wait, self._open)

    def _open(self) -> None:
        self._timer = None
        self._members.rotate(-1)  # each time another one is the first, so that none starves
        for member in tuple(self._members):
            member()


class KeyLimiter:
    """The limit of one handler for each key. See `Turn` for what it is asked."""

    def __init__(self, limit: RateLimit) -> None:
        self._rate, self._burst = limit.rate, limit.most  # worked out once: there may be a new key with each message
        self._by: Callable[[Message], str | int | None] = _asked(limit.by) if callable(limit.by) else _key
        self._buckets: dict[str | int, Bucket] = {}
        self._swept = -inf
        self._last: Bucket | None = None
        """Of whom was asked last, which is who takes."""

    def wait(self, delivery: Delivery[Any], now: float) -> float:
        bucket = self._last = self._bucket(delivery, now)
        return 0.0 if bucket is None or bucket.tokens(now) >= 1.0 else bucket.promise(now)

    def left(self, delivery: Delivery[Any]) -> float:
        del delivery
        return inf

    def take(self, delivery: Delivery[Any], now: float) -> None:
        del delivery, now
        if self._last is not None:
            self._last.take()

    def _bucket(self, delivery: Delivery[Any], now: float) -> Bucket | None:
        key = self._by(delivery.message)
        if key is None:
            return None
        found = self._buckets.get(key)
        return found if found is not None else self._new(key, now)

    def _new(self, key: str | int, now: float) -> Bucket:
        if len(self._buckets) >= KEYS:
            self._sweep(now)
        place = key if len(self._buckets) < KEYS else hash(key) % SHARED
        return self._buckets.setdefault(place, Bucket(self._rate, self._burst))

    def _sweep(self, now: float) -> None:
        """Forget the keys whose bucket is full: a new one would be the same. Once a second at most."""
        if now < self._swept + 1.0:
            return
        self._swept = now
        full = float(self._burst)
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.tokens(now) < full}


def _key(message: Message) -> str | None:
    return message.key


def _asked(by: Callable[[Message], str | None]) -> Callable[[Message], str | int | None]:
    """The same, which neither raises nor says what is no key: the message would be held for ever."""

    def ask(message: Message) -> str | int | None:
        try:
            key: Any = by(message)
        except Exception as error:  # noqa: BLE001 - told without its text, which may quote the message
            log.error("by=%s failed with %s: limited with all such messages", _name(by), type(error).__qualname__)  # noqa: TRY400
            return UNKNOWN
        if key is None or isinstance(key, str):
            return key
        log.error("by=%s answered no text but %s: limited with all such messages", _name(by), type(key).__qualname__)
        return UNKNOWN

    return ask
