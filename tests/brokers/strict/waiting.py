"""Long polls, made of short ones one after another.

The emulators hand a message to a receive whose client has gone, so that nobody has it until its time is over; and moto
decides when a receive begins which keys of a FIFO queue are held, and hands out a later message of one that is held since.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

EVERY = 0.25
"""Seconds after which it is looked again, for what nobody tells of: a message that is visible again."""

T = TypeVar("T")


@dataclass
class Queue:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    empty_at: float = float("-inf")
    empty_since: int = -1
    """Of all that had happened when nothing was there."""


class Waiting:
    """Receives of all queues. One at a time of each."""

    def __init__(self) -> None:
        self._queues: defaultdict[str, Queue] = defaultdict(Queue)
        self._happened = 0
        self._news = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._looking = 0

    async def hold(self) -> None:
        """Let no receive be under way: an emulator that ends keeps what one brings to nobody until its time is over."""
        self._open.clear()
        while self._looking:
            await asyncio.sleep(0.005)

    def release(self) -> None:
        self._open.set()

    def tell(self) -> None:
        """Something may be there that was not."""
        self._happened += 1
        self._news.set()
        self._news = asyncio.Event()

    async def receive(
        self, name: str, seconds: float, look: Callable[[], Awaitable[T | None]], gone: Callable[[], bool]
    ) -> T | None:
        """What `look` finds within so many seconds. gone: whether nobody waits for it any more; then it is not looked."""
        queue, end = self._queues[name], time.monotonic() + seconds
        while True:
            news = self._news
            async with queue.turn:
                await self._open.wait()
                if gone():
                    raise ConnectionResetError
                if (found := await self._look(queue, look)) is not None:
                    return found
            if (left := end - time.monotonic()) <= 0:
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(min(EVERY, left)):
                    await news.wait()

    async def _look(self, queue: Queue, look: Callable[[], Awaitable[T | None]]) -> T | None:
        """Others may just have seen that nothing is there."""
        if queue.empty_since == self._happened and time.monotonic() < queue.empty_at + EVERY:
            return None
        happened = self._happened
        self._looking += 1
        try:
            found = await look()
        finally:
            self._looking -= 1
        if found is None:
            queue.empty_since, queue.empty_at = happened, time.monotonic()
        return found
