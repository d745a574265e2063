"""A subscription to a pattern: a share of every topic that fits, one source each, looked at in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from waybill.adapter import Notify
from waybill.clock import Clock
from waybill.errors import DestinationMissing, missing
from waybill.message import Delivery
from waybill.outcomes import ExtendResult, Settled, SettleResult
from waybill.topology import Subscription
from waybill_embedded.admin import share
from waybill_embedded.engine import Engine
from waybill_embedded.file import mapped
from waybill_embedded.groups import create_pattern, groups_of_pattern, pattern_id, remove_pattern
from waybill_embedded.members import Members
from waybill_embedded.source import FileSource, receive

__all__ = ["PatternSource"]


class PatternSource:
    """The shares of a group in all topics that fit, also in those that come later."""

    def __init__(
        self, engine: Engine, members: Members, subscription: Subscription, clock: Clock, notify: Notify
    ) -> None:
        self._engine = engine
        self._members = members
        self._subscription = subscription
        self._clock = clock
        self._notify = notify
        self._shares: dict[str, FileSource] = {}
        self._turn = 0
        self.quiet = False

    async def open(self) -> None:
        if self._subscription.ephemeral:
            doorbell = self._members.doorbell
            await self._engine.write(lambda c: create_pattern(c, self._subscription, member=doorbell))
        elif await self._engine.write(lambda c: pattern_id(c, self._subscription)) is None:
            raise DestinationMissing(missing(self._subscription.name))
        await self._join()

    async def close(self) -> None:
        self.quiet = True
        self._members.wake()
        if self._subscription.ephemeral:
            doorbell = self._members.doorbell
            await self._engine.write(lambda c: remove_pattern(c, self._subscription, member=doorbell))
        for source in self._shares.values():
            await source.close()

    async def _join(self) -> None:
        """Open the shares that have come since."""
        with mapped(self._engine.location):
            names = groups_of_pattern(self._engine.reader, self._subscription)
        for name in names:
            if name not in self._shares:
                source = FileSource(
                    self._engine, self._members, share(self._subscription, name), self._clock, self._notify
                )
                await source.open()
                self._shares[name] = source

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        return await receive(self, limit, self._members, self._clock, self._notify)

    async def look(self, limit: int) -> tuple[list[Delivery[Any]], float | None]:
        await self._join()
        sources = list(self._shares.values())
        dues: list[float] = []
        for place in range(len(sources)):
            deliveries, due = await sources[(self._turn + place) % len(sources)].look(limit)
            if deliveries:
                self._turn += place + 1  # the next one's turn, so that a busy topic does not keep the others waiting
                return deliveries, due
            if due is not None:
                dues.append(due)
        return [], min(dues, default=None)

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        results: dict[int, SettleResult] = {}
        for name, source in self._shares.items():
            mine = [item for item in settled if item.delivery.topic == name]
            if mine:
                results |= zip(map(id, mine), await source.settle(mine), strict=True)
        return [results[id(item)] for item in settled]

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        results: dict[int, ExtendResult] = {}
        for name, source in self._shares.items():
            mine = [delivery for delivery in deliveries if delivery.topic == name]
            if mine:
                results |= zip(map(id, mine), await source.extend(mine), strict=True)
        return [results[id(delivery)] for delivery in deliveries]

    async def quiesce(self) -> None:
        self.quiet = True
        for source in self._shares.values():
            await source.quiesce()
        self._members.wake()
