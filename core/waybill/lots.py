"""What one `Sink.send` waits for, for sinks whose answers come one by one and in any order."""

from __future__ import annotations

import asyncio
from asyncio import Future

from waybill.outcomes import SendResult, Unknown

__all__ = ["Lot"]


class Lot:
    """What one `send` has under way: done when each of it is decided."""

    def __init__(self, size: int) -> None:
        self.results: list[SendResult | None] = [None] * size
        self.left = size
        self.begun = False
        """Whether something of it may have been written."""
        self.done: Future[None] = asyncio.get_running_loop().create_future()

    def decide(self, place: int, result: SendResult) -> None:
        """The first result of a place counts."""
        if self.results[place] is None:
            self.results[place] = result
            self.left -= 1
            if not self.left and not self.done.done():
                self.done.set_result(None)

    @property
    def answers(self) -> list[SendResult]:
        return [result or Unknown("no answer") for result in self.results]
