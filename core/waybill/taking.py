"""One group's dead letters, taken: in batches, their leases kept as long as they are held, and each settled in the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, Self, TypeVar

from waybill.adapter import Source
from waybill.errors import BrokerError, ConfigurationError
from waybill.message import Delivery, Message
from waybill.outcomes import RELEASE, Done, Failed, Lost, Settled
from waybill.settling import back_off
from waybill.topology import Subscription

__all__ = ["Ahead", "Letters"]

log = logging.getLogger("waybill.taking")

T = TypeVar("T")

TRIES = 5
"""Times a settlement is asked for before it counts as not done."""
SMALL = 8 << 20
"""Bytes of letters that are taken ahead of those that are being moved."""
LEAVING = 1.0
"""Seconds that taking ahead is given to end by itself, when nothing more is to be moved."""


class Letters:
    """One group's dead letters, in batches, and the leases of those that are held."""

    def __init__(
        self,
        source: Source,
        subscription: Subscription,
        wanted: Callable[[Message], bool],
        *,
        there: int | None,
        limit: int | None,
    ) -> None:
        if limit is not None and limit < 1:
            raise ConfigurationError(f"limit={limit}: at least 1; None for all")
        self._source = source
        self._wanted = wanted
        self._there = float("inf") if there is None else there
        self._room = float("inf") if limit is None else limit
        self._every = subscription.lease / 3
        self._held: dict[Any, Delivery[Any]] = {}
        self._renew_at = 0.0
        self._now = asyncio.get_running_loop().time
        self.unwanted = 0
        self.refusal = ""
        """Why the broker did not do all of the last settlements, though it was asked again; of one that was no longer ours it says
        nothing."""

    async def take(self, size: int) -> list[Delivery[Any]] | None:
        """The next that are wanted, perhaps none; `None` when all have been looked at, or enough were taken."""
        size = int(min(size, self._there))
        if size <= 0 or self._room <= 0:
            return None
        deliveries = await self._source.receive(size)
        if not deliveries:
            return None
        if not self._held:
            self._renew_at = self._now() + self._every
        self._held.update((delivery.token, delivery) for delivery in deliveries)
        self._there -= len(deliveries)
        chosen: list[Delivery[Any]] = []
        others: list[Delivery[Any]] = []
        for delivery in deliveries:
            (chosen if len(chosen) < self._room and self._wanted(delivery.message) else others).append(delivery)
        self._room -= len(chosen)
        self.unwanted += len(others)
        await self.settle([Settled(delivery, RELEASE) for delivery in others])
        return chosen

    def holds(self, delivery: Delivery[Any]) -> bool:
        return delivery.token in self._held

    async def settle(self, settled: Sequence[Settled]) -> list[Settled]:
        """Settle, and ask again where the broker did not answer. Gives those of which it is not known to be done."""
        if not settled:
            return []
        waiting: list[Settled] = list(settled)
        lost: list[Settled] = []
        self.refusal = ""
        for tried in range(1, TRIES + 1):
            if not waiting:
                break
            try:
                results = await self._source.settle(waiting)
            except BrokerError as error:
                results = [Failed(str(error))] * len(waiting)
            pairs = list(zip(waiting, results, strict=True))
            lost += [item for item, result in pairs if isinstance(result, Lost)]
            waiting = [item for item, result in pairs if not isinstance(result, Done | Lost)]
            self.refusal = next((result.cause for result in results if isinstance(result, Failed)), "")
            if waiting and tried < TRIES:
                await asyncio.sleep(back_off(tried))
        for item in settled:
            self._held.pop(item.delivery.token, None)
        return lost + waiting

    async def give_back(self) -> None:
        await self.settle([Settled(delivery, RELEASE) for delivery in self._held.values()])

    async def pause(self, until: float) -> None:
        """Wait until then, on the loop's clock, and keep what is held."""
        while (now := self._now()) < until:
            await asyncio.sleep(max(0.0, min(until, self._next) - now))
            await self._renew()
        await self._renew()

    async def keeping(self, work: Awaitable[T]) -> T:
        """Do `work`, and keep what is held meanwhile. Where that is cut short, so is `work`, and has ended."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait([task], timeout=min(self._every, max(0.0, self._next - self._now()))))[0]:
                await self._renew()
        except BaseException:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        return task.result()

    @property
    def _next(self) -> float:
        """When leases are to be renewed."""
        return self._renew_at if self._held else float("inf")

    async def _renew(self) -> None:
        if not self._held or self._now() < self._renew_at:
            return
        self._renew_at = self._now() + self._every
        held = list(self._held.values())
        try:
            results = await self._source.extend(held)
        except BrokerError as error:
            log.warning("the leases of %d dead letters could not be renewed: %s", len(held), error)
            return
        for delivery, result in zip(held, results, strict=True):
            if isinstance(result, Lost):
                del self._held[delivery.token]  # somebody else takes it: a copy of ours would be one too many


class Ahead(Generic[T]):
    """Takes the next letters while the last are moved. An asynchronous context manager."""

    def __init__(self, take: Callable[[], Coroutine[Any, Any, T | None]]) -> None:
        """take: the next, and what is to be known of them; `None` when there are no more."""
        self._take = take
        self._taking: asyncio.Task[T | None] | None = None

    @property
    def waits(self) -> bool:
        """Whether the next are not there yet."""
        return self._taking is None or not self._taking.done()

    async def take(self) -> T | None:
        taking, self._taking = self._taking, None
        return await (taking or self._take())

    def begin(self, taken: Sequence[Delivery[Any]]) -> None:
        """Not where they are large, like those that were taken last: as many again are held."""
        if sum(len(delivery.message.body or b"") for delivery in taken) <= SMALL:
            self._taking = asyncio.create_task(self._take(), name="waybill-dlq-taking")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """What was taken for nothing can be given back then."""
        if (taking := self._taking) is None:
            return
        try:
            await asyncio.wait([taking], timeout=LEAVING)
        finally:
            taking.cancel()
            found = await asyncio.gather(taking, return_exceptions=True)
        if isinstance(found[0], Exception):
            log.info("what was to be moved next was not taken: %s", found[0])
