"""What has become of letters that were sent back: settled by their group, or dead letters again.

Settled is what a consumer with the same index has told (`telling`); and once nothing lies before the group, where the broker
can say so, everything that was sent before and is no dead letter again.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from waybill.adapter import Admin
from waybill.dlq.collecting import Collected, collect
from waybill.dlq.index import Index
from waybill.dlq.operation import Operation, Progress
from waybill.dlq.operations import Operations
from waybill.dlq.settling import judge
from waybill.topology import Backlog, Destination, Exactness, Subscription

__all__ = ["Seen", "Watch", "see"]

STEADY = 3
"""Looks in a row at which a broker that knows its figures only about must say the same."""


class Seen(NamedTuple):
    """One look at a group, for all of its operations: what lay before it, and then its dead letters, which are in the index."""

    began: float
    """Seconds since the epoch."""
    backlog: Backlog
    letters: Collected


async def see(admin: Admin, group: Subscription, index: Index) -> Seen:
    """Look at that group. In this order: what fails when nothing lies before the group any more is among its dead letters."""
    return Seen(time.time(), await admin.backlog(group), await collect(admin, group, index))


class Watch:
    """Looks after one operation's letters."""

    def __init__(self, admin: Admin, place: Destination, operations: Operations, operation: Operation) -> None:
        """place: where the copies were sent, and admin that broker's."""
        self._admin = admin
        self._place = place
        self._operations = operations
        self._operation = operation
        self._calm = 0
        self._dead: float | None = None
        """How many dead letters there were at the last whole look."""

    async def heed(self) -> Progress:
        """What consumers have told. Asks no broker."""
        await asyncio.to_thread(self._operations.heed, self._operation)
        return await asyncio.to_thread(self._operations.progress, self._operation)

    async def look(self, seen: Seen | None = None) -> Progress:
        """Also what can be seen at the broker. Dead letters are read only where there may be news among them. seen: the place's
        group as somebody has just seen it."""
        progress = await self.heed()
        if not progress.pending:
            return progress
        began = time.time() if seen is None else seen.began
        if self._place.group is None:  # every group of another topic has them now: it is theirs
            await asyncio.to_thread(self._resolve, began)
            return await self.heed()
        group = Subscription(topic=self._place.topic, group=self._place.group)
        backlog, letters = (await self._admin.backlog(group), None) if seen is None else (seen.backlog, seen.letters)
        drained = self._drained(backlog)
        if letters is None and self._may_be_news(backlog, drained=drained):
            letters = await collect(self._admin, group, self._operations.index)
        if letters is not None:
            self._dead = backlog.dead.value
            place = self._place.topic.name, self._place.group
            await asyncio.to_thread(judge, self._operations, self._operation, place, since=began)
            if drained and letters.complete:
                await asyncio.to_thread(self._resolve, began)
        return await self.heed()

    def _may_be_news(self, backlog: Backlog, *, drained: bool) -> bool:
        return drained or backlog.dead.value != self._dead or backlog.dead.exactness is not Exactness.EXACT

    def _drained(self, backlog: Backlog) -> bool:
        """Whether all that was sent before this look is settled. Of a broker that cannot tell what waits for a retry it is never known.
        What is in flight is among what is ready where it is not told by itself."""
        ready, delayed, in_flight = backlog.ready, backlog.delayed, backlog.in_flight
        if ready.value != 0 or delayed.value != 0 or in_flight.value:
            self._calm = 0
            return False
        self._calm += 1
        exact = Exactness.APPROXIMATE not in {ready.exactness, delayed.exactness, in_flight.exactness}
        return self._calm >= (1 if exact else STEADY)

    def _resolve(self, began: float) -> None:
        while moves := self._operations.at(self._operation, "pending", since=began):
            self._operations.mark(self._operation, [move.id for move in moves], "resolved")
