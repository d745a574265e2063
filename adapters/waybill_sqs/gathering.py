"""Work for calls that take ten at once: shared out to as few calls as can be, as many of them at once as AWS bears."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from waybill.settling import back_off
from waybill_sqs.limits import split

__all__ = ["Gatherer", "Item"]


class Item(Protocol):
    """One entry of a call."""

    @property
    def size(self) -> int: ...
    @property
    def group(self) -> str | None:
        """What goes one after another: no two of a group are under way."""
        ...

    @property
    def given_up(self) -> bool:
        """Nobody waits for it any more."""
        ...


Entry = TypeVar("Entry", bound=Item)


class Gatherer(Generic[Entry]):
    """Hands what was added to `call`, in batches. Who sends one after another, each when the one before it is answered,
    waits for nothing; where several are under way at once, they share calls."""

    def __init__(
        self,
        call: Callable[[Sequence[Entry]], Awaitable[Sequence[Entry] | None]],
        *,
        linger: float,
        calls: int,
        most: int,
    ) -> None:
        """`call` decides its entries, and answers those that AWS wants later, or `None`: all of them, and fewer calls.

        `most`: bytes of a call.
        """
        self._call = call
        self._linger = linger
        self._most_calls = self._allowed = calls
        self._most = most
        self._queue: deque[Entry] = deque()
        self._busy: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._not_before = 0.0
        self._sharing = False
        self._failures = 0
        self._loop = asyncio.get_running_loop()

    def add(self, items: Sequence[Entry]) -> None:
        self._queue.extend(items)
        self._pump()

    async def close(self) -> None:
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    def _pump(self) -> None:
        while self._queue and len(self._running) < self._allowed:
            now = self._loop.time()
            wait = self._not_before - now
            if len(self._queue) < 10 and (self._sharing or self._running):
                wait = max(wait, self._last + self._linger - now)
            if wait > 0:
                if self._timer is None:
                    self._timer = self._loop.call_later(wait, self._due)
                return
            if not (batch := self._take()):
                return
            self._last = now
            task = self._loop.create_task(self._run(batch), name="waybill-sqs-call")
            self._running.add(task)

    def _due(self) -> None:
        self._timer = None
        self._pump()

    def _take(self) -> list[Entry]:
        """The next batch: of each group one at most, and none of which one is under way."""
        batch: list[Entry] = []
        kept: list[Entry] = []
        seen: set[str] = set()
        queue = self._queue
        while queue and len(batch) < 10:
            item = queue.popleft()
            if item.given_up:
                continue
            if item.group is not None and (item.group in self._busy or item.group in seen):
                kept.append(item)
                continue
            if item.group is not None:
                seen.add(item.group)
            batch.append(item)
        fit = split(batch, most_bytes=self._most)
        queue.extendleft(reversed(kept))
        queue.extendleft(reversed(batch[fit:]))
        self._busy.update(item.group for item in batch[:fit] if item.group is not None)
        return batch[:fit]

    async def _run(self, batch: list[Entry]) -> None:
        again: Sequence[Entry] | None = ()
        try:
            again = await self._call(batch)
        finally:
            self._busy.difference_update(item.group for item in batch if item.group is not None)
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - always run as a task
            self._running.discard(task)
        self._sharing = len(batch) > 1 or bool(self._queue)
        self._learn(None if again is None else len(batch) - len(again))
        self._queue.extendleft(reversed(batch if again is None else again))
        self._pump()

    def _learn(self, taken: int | None) -> None:
        """Half as many calls at once after each that was throttled, one more after each that was not. A pause only where
        nothing was taken: what failed among others goes with the next of them."""
        if not taken:
            self._failures += 1
            self._not_before = self._loop.time() + back_off(self._failures)
            if taken is None:
                self._allowed = max(1, self._allowed // 2)
        else:
            self._failures = 0
            self._allowed = min(self._most_calls, self._allowed + 1)
