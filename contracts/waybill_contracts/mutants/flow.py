"""Wrong about how much is handed out, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from waybill.adapter import Source
from waybill.message import Delivery
from waybill.outcomes import LOST, ExtendResult, Settled, SettleResult
from waybill.topology import Subscription
from waybill_contracts.mutants.moves import renewed
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("F01", "F02", "F10")
class HandsOutOneAtATime(Wrapped):
    """The next message is handed out when the one before is settled."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._out = 0

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        del limit
        while self._out:
            await asyncio.sleep(0.01)
        deliveries = await super().do_receive(source, subscription, 1)
        self._out = len(deliveries)
        return deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        results = await super().do_settle(source, subscription, settled)
        self._out = 0
        return results


@mutant("F03")
class FetchesEverything(Wrapped):
    """All there is is fetched, and handed out as it is asked for."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._fetched: list[Delivery[Any]] = []

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        if not self._fetched:
            self._fetched = list(await super().do_receive(source, subscription, 1000))
        given, self._fetched = self._fetched[:limit], self._fetched[limit:]
        return given


@mutant("F03", "F04", "F08", "F09")
class HandsOutMoreThanIsAskedFor(Wrapped):
    """Who asks for some gets whatever there is."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        del limit
        return await super().do_receive(source, subscription, 1000)


@mutant("F04", "F06", "F08", "R11")
class ForgetsTheLease(Wrapped):
    """Leases are not renewed, and run out while the handler works."""

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        del source
        return renewed(deliveries)


@mutant("F05", "F08")
class LeavesWhenNobodyReceives(Wrapped):
    """Who does not ask for a second is a member no more, and nobody tells."""

    _asked = 0.0

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        while self._asked and time.monotonic() - self._asked > 1.0:
            await asyncio.sleep(1)
        deliveries = await super().do_receive(source, subscription, limit)
        self._asked = time.monotonic()
        return deliveries


@mutant("F06")
class RenewsTheFirstOfALotOnly(Wrapped):
    """Of several messages one is renewed; the others' members learn that they have lost them."""

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        results = await super().do_extend(source, deliveries)
        return [*results[:1], *([LOST] * (len(results) - 1))]


@mutant("F07")
class KeepsALostLease(Wrapped):
    """A lease that is lost is reported as renewed, and the handler goes on beside the other's."""

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        await super().do_extend(source, deliveries)
        return renewed(deliveries)


@mutant("F07")
class NeverTakesOver(Wrapped):
    """What a silent member holds stays with it: each member keeps a lease of an hour."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        return replace(subscription, lease=3600.0)


@mutant("F09")
class HandsOutNowAndThen(Wrapped):
    """Whoever asks is answered once a second, with ten messages at most."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        await asyncio.sleep(1.0)
        return await super().do_receive(source, subscription, min(limit, 10))


@mutant("F10")
class WaitsForAFullLot(Wrapped):
    """A lot is held back until it is as large as was asked for, or six seconds old."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = list(await super().do_receive(source, subscription, limit))
        if deliveries and len(deliveries) < limit:
            await asyncio.sleep(6)
        return deliveries


@mutant("F11")
class AsksAgainAndAgain(Wrapped):
    """Where there is nothing, it answers so at once, and is asked again."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._asked: asyncio.Future[Sequence[Delivery[Any]]] | None = None

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        self._asked = self._asked or asyncio.ensure_future(super().do_receive(source, subscription, limit))
        await asyncio.sleep(0)
        if not self._asked.done():
            return ()
        asked, self._asked = self._asked, None
        return asked.result()


@mutant("F12")
class ServesTheBusyTopicFirst(Wrapped):
    """While one topic has something, the others wait."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._busy = ""
        self._got = 0.0

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        while subscription.name != self._busy and time.monotonic() - self._got < 1.5:
            await asyncio.sleep(0.05)
        deliveries = await super().do_receive(source, subscription, limit)
        if subscription.name != self._busy and time.monotonic() - self._got < 1.5:
            await asyncio.sleep(4)
        elif deliveries:
            self._busy, self._got = subscription.name, time.monotonic()
        return deliveries
