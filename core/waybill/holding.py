"""What a consumer holds: deliveries that are not settled yet, the handlers that run on them, and how much that may be."""

from __future__ import annotations

from asyncio import CancelledError, Task
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Any

import msgspec

from waybill.message import Delivery
from waybill.outcomes import RELEASE, Release, Settlement

__all__ = ["Held", "Run", "Slots", "Window"]


class Held(msgspec.Struct, eq=False):
    """One delivery in the window of a consumer, and what is known about it."""

    delivery: Delivery[Any]
    lease_until: float
    since: float = 0.0
    """When it came, on `time.monotonic()`."""
    run: Run | None = None
    """The handler that runs on it now."""
    lost: bool = False
    tried: bool = False
    """Whether it was handled here before and waited in place for its retry."""
    forgiven: bool = False
    """Whether a gate has said of a failure that it was not its fault."""
    outcome: Settlement | None = None
    """What was decided."""
    asked: bool = False
    """The source is being told of it now, under the token that its delivery has."""
    placed: bool = False
    """Its copy lies at its new place: what is left to do is to acknowledge."""
    skipped: bool = False
    """It is not for this group, or was lost before: settling it is no handling."""
    handed: int = 1
    """The attempt it was handed out as."""
    ordinals: dict[str, int] | None = None
    former: tuple[Held, ...] = ()
    """What gives back the deliveries whose place its own has taken, once it is settled."""
    lane: str | None = None
    """The key it waits behind and is waited for; `None`: neither."""

    @property
    def waits(self) -> bool:
        """Whether no handler has it, and nothing is decided."""
        return self.run is None and self.outcome is None

    @property
    def released(self) -> Release:
        """What gives it back, with the attempts it has had."""
        return Release(self.delivery.attempt - 1) if self.tried else RELEASE

    def abandoned(self) -> Held:
        """What gives it back although it was lost, and nobody asks what became of it."""
        return Held(self.delivery, inf, tried=self.tried, lane=self.lane, skipped=True)

    def ordinal(self, topic: str) -> int:
        """0 for the first message this handling publishes to `topic`, then 1, and so on."""
        if self.ordinals is None:
            self.ordinals = {}
        number = self.ordinals.get(topic, 0)
        self.ordinals[topic] = number + 1
        return number


class Run(msgspec.Struct, eq=False):
    """One call of a handler: on one delivery, or on a batch of them."""

    helds: Sequence[Held]
    deadline: float
    """When it is cancelled, on `time.monotonic()`."""
    began: float = 0.0
    """When it was started, on the same clock."""
    task: Task[None] | None = None
    cause: str | None = None
    """Why it was cancelled: `timeout`, `lease` or `shutdown`; or `codec`: what decoding lacks cannot be had now."""
    begun: bool = False
    cancelled: float = inf
    """When it was cancelled first, on the same clock."""
    told: bool = False
    """The gates have heard what came of it already."""

    def begin(self) -> None:
        """The first step of its task. Raises `CancelledError` if it was cancelled before."""
        self.begun = True
        if self.cause is not None:
            raise CancelledError(self.cause)

    def cancel(self, cause: str) -> None:
        self.cause = cause
        self.cancelled = min(self.cancelled, monotonic())
        if self.task is not None and self.begun:  # one cancelled before its first step would end without a word
            self.task.cancel(cause)


class Slots:
    """Handlers at once, shared by the consumers of several topics that one handler serves."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = 0
        self._members: deque[Callable[[], None]] = deque()

    def join(self, start: Callable[[], None]) -> None:
        """`start` takes what slots are free and it has something for; it is called when one becomes free."""
        self._members.append(start)

    def leave(self, start: Callable[[], None]) -> None:
        if start in self._members:
            self._members.remove(start)

    @property
    def free(self) -> bool:
        return self.taken < self.number

    def offer(self) -> None:
        """Let the members start what they can; each time another one is the first, so that none starves."""
        if len(self._members) == 1:
            self._members[0]()
            return
        self._members.rotate(-1)
        for start in tuple(self._members):
            start()


class Window:
    """The deliveries a consumer holds, bounded in count and bytes: that bound is the back-pressure."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self.limit = limit
        self.held: dict[Held, None] = {}
        """In the order they came, which within one key is the order to give them back in."""
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._average = 1024.0

    def add(self, helds: Sequence[Held]) -> None:
        before = self._bytes
        for held in helds:
            self.held[held] = None
            body = held.delivery.message.body
            if body is not None:
                self._bytes += len(body)
        average = (self._bytes - before) / len(helds) + 256
        self._average += (average - self._average) / 8

    def remove(self, held: Held) -> None:
        if held in self.held:
            del self.held[held]
            body = held.delivery.message.body
            if body is not None:
                self._bytes -= len(body)

    @property
    def full(self) -> bool:
        return self._room() <= 0

    def wanted(self, *, idle: bool) -> int:
        """How many more deliveries to ask for. A nearly full window waits until a quarter of it is free, so that fetches
        stay large, but not while handlers are idle."""
        room = self.limit - len(self.held)
        if room < self.limit // 4 and not idle:
            return 0
        return max(0, self._room())

    def _room(self) -> int:
        left = int((self._limit_bytes - self._bytes) / self._average) or (0 if self.held else 1)
        return min(self.limit - len(self.held), left)
