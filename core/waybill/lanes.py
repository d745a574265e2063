"""Which of the held deliveries may start now. Pure: a queue, and for ordered subscriptions one lane a key.

A lane has at most one delivery started. Its others wait behind it, in the order they came; a lane that is blocked (its
head waits for a retry) starts nothing until it is opened again. Deliveries without a key have no lane.

A key on its way back (something of it was given back, and the broker has not taken that yet) takes nothing in: what the
broker hands out meanwhile comes after that, and would be handled before it.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Lanes"]

T = TypeVar("T")


class Lanes(Generic[T]):
    """`add` what was received, `take` what may start, `done` what has ended."""

    __slots__ = ("_kept", "_kepts_turn", "_lanes", "_ready", "_returning", "ordered")

    def __init__(self, *, ordered: bool) -> None:
        self.ordered = ordered
        self._ready: deque[tuple[str | None, T]] = deque()
        self._kept: deque[tuple[str | None, T]] = deque()
        """Ready too. They failed, so that after one of them it is another's turn, and they have every second one."""
        self._kepts_turn = False
        self._lanes: dict[str, deque[T]] = {}
        """Keys with a delivery that is ready, started or waiting in place; the deque holds those behind it."""
        self._returning: dict[str, set[T]] = {}

    def add(self, key: str | None, item: T) -> bool:
        """A new delivery, behind all of its key. `False`: its key is on its way back, and so must it be."""
        if key is None or not self.ordered:
            self._ready.append((None, item))
        elif key in self._returning:
            return False
        elif (lane := self._lanes.get(key)) is not None:
            lane.append(item)
        else:
            self._lanes[key] = deque()
            self._ready.append((key, item))
        return True

    def returns(self, key: str, item: T) -> None:
        """This one, which is in no lane any more, is being given back: until `returned`, its key takes nothing in."""
        self._returning.setdefault(key, set()).add(item)

    def returned(self, key: str, item: T) -> None:
        """The broker has taken it back, or it was lost. Says nothing about one that was not on its way."""
        items = self._returning.get(key, set())
        items.discard(item)
        if not items:
            self._returning.pop(key, None)

    def take(self) -> T | None:
        """The next delivery to start, or `None`."""
        if not self._kept:
            return self._ready.popleft()[1] if self._ready else None
        turn = self._turn()
        self._kepts_turn = turn is self._ready
        return turn.popleft()[1]

    def _turn(self) -> deque[tuple[str | None, T]]:
        return self._kept if self._kept and (self._kepts_turn or not self._ready) else self._ready

    @property
    def ready(self) -> int:
        """How many may start now."""
        return len(self._ready) + len(self._kept)

    @property
    def next(self) -> T | None:
        """What `take` would answer."""
        turn = self._turn()
        return turn[0][1] if turn else None

    def done(self, key: str | None) -> None:
        """The started delivery of this key ended: the one behind it may start."""
        if key is None or not self.ordered:
            return
        lane = self._lanes[key]
        if lane:
            self._ready.append((key, lane.popleft()))
        else:
            del self._lanes[key]

    def waiting(self, key: str) -> list[T]:
        """Take over all that waits in the lane, in order; the lane stays closed, and what is added later waits in it."""
        lane = self._lanes[key]
        items = list(lane)
        lane.clear()
        return items

    def clear(self, key: str) -> list[T]:
        """Close the lane and hand over all that waited in it, in order: they are not going to start here."""
        return list(self._lanes.pop(key, ()))

    def again(self, key: str | None, item: T) -> None:
        """A delivery that waited in place (its lane stayed closed meanwhile) may start once more."""
        self._ready.append((key if self.ordered else None, item))

    def keep(self, key: str | None, item: T) -> None:
        """The same, for one that failed through no fault of its own: what is ready besides has the next turn."""
        self._kept.append((key if self.ordered else None, item))
        self._kepts_turn = False

    def evict(self, key: str | None, item: T) -> list[T]:
        """Take out a delivery that has not started, and all of its key that have not: what is behind it cannot start here.

        In order. Empty if it is not waiting here.
        """
        if key is None or not self.ordered:
            return [item] if self._remove(None, item) else []
        lane = self._lanes.get(key)
        if lane is None:
            return []
        if item in lane:
            return self.waiting(key)
        return [item, *self.clear(key)] if self._remove(key, item) else []

    def _remove(self, key: str | None, item: T) -> bool:
        for ready in (self._ready, self._kept):
            if (key, item) in ready:
                ready.remove((key, item))
                return True
        return False
