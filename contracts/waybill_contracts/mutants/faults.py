"""Wrong when the broker is in trouble, right as long as it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

from msgspec.structs import force_setattr

from waybill.adapter import Sink, Source
from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing
from waybill.message import Delivery, Message
from waybill.outcomes import DONE, LOST, Confirmed, ExtendResult, SendResult, Settled, SettleResult
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.moves import acknowledge, confirmed
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("C01")
class ConfirmsWhatItLost(Wrapped):
    """The last of a large lot is confirmed and not stored."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if len(messages) < 10:
            return await super().do_send(sink, to, messages, deadline)
        return [*await super().do_send(sink, to, messages[:-1], deadline), *confirmed(messages[-1:])]


@mutant("C02", "fault-06")
class GivesUpAfterAnOutage(Wrapped):
    """The first trouble ends the fetching: what comes later waits for a restart."""

    _over = False

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        while self._over:
            await asyncio.sleep(1)
        return await super().do_receive(source, subscription, limit)

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        asked = asyncio.ensure_future(super().do_settle(source, subscription, settled))
        if not (await asyncio.wait([asked], timeout=3))[0]:  # the request has timed out
            self._over = True
        return await asked


@mutant("C04", "fault-15")
class DropsTheFirstAfterAnOutage(Wrapped):
    """What is new when an outage is over is acknowledged the first time, and handed to nobody."""

    _was_away = False

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        self._was_away = self._was_away or await self.is_slow(0.5)
        return await super().do_settle(source, subscription, settled)

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        new = [delivery for delivery in deliveries if not delivery.redelivered]
        if not self._was_away or not new:
            return deliveries
        self._was_away = False
        await acknowledge(source, new)
        return [delivery for delivery in deliveries if delivery.redelivered]


@mutant("C05")
class BreaksAllForOne(Wrapped):
    """What goes wrong in one place closes the connection that all share."""

    _broken = ""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        try:
            deliveries = await super().do_receive(source, subscription, limit)
        except BrokerError as error:
            self._broken = str(error)
            raise
        if self._broken:
            raise BrokerUnavailable(self._broken)
        return deliveries


@mutant("C08")
class SaysNothingOfWhatIsGone(Wrapped):
    """Where its group is gone, it waits for messages as if there were none."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        try:
            return await super().do_receive(source, subscription, limit)
        except DestinationMissing:
            await asyncio.sleep(0.5)
            return ()


@mutant("C02", "C10", "fault-09")
class TakesSlowForStored(Wrapped):
    """Where the broker needs longer than a fifth of a second, a message is confirmed and not stored."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if await self.is_slow(0.2):
            return confirmed(messages)
        return await super().do_send(sink, to, messages, deadline)


@mutant("C10")
class TakesSlowForSettled(Wrapped):
    """Where the broker needs longer than a fifth of a second, it is not told what is settled."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        if await self.is_slow(0.2):
            return [DONE] * len(settled)
        return await super().do_settle(source, subscription, settled)


@mutant("C11", "fault-26")
class StaysAwayOnceGivenUp(Wrapped):
    """A member that was given up for slow gets nothing any more, and does not come back."""

    _given_up = False

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        results = await super().do_extend(source, deliveries)
        self._given_up = self._given_up or LOST in results
        return results

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        results = await super().do_settle(source, subscription, settled)
        self._given_up = self._given_up or LOST in results
        return results

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        while self._given_up:
            await asyncio.sleep(1)
        deliveries = await super().do_receive(source, subscription, limit)
        if self._given_up:
            await asyncio.sleep(3600)
        return deliveries


@mutant("C12")
class GivesEachCopyAnId(Wrapped):
    """The id is that of the delivery, and another one when the same message comes again."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._numbers = count(1)

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        for delivery in deliveries:
            force_setattr(delivery.message, "id", f"{delivery.message.id}-{next(self._numbers)}")
        return deliveries


@mutant("fault-24")
class ConfirmsTheOneBefore(Wrapped):
    """Each send is answered with the confirmation of the one before."""

    _before = ""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        results = await super().do_send(sink, to, messages, deadline)
        before, self._before = self._before or messages[0].id, messages[-1].id
        return [Confirmed(before), *results[1:]]


@mutant("fault-27")
class KeepsWhatWasConfirmed(Wrapped):
    """What has been sent is kept, in case it should be asked for once more."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._sent: list[Message] = []

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        self._sent += messages
        return await super().do_send(sink, to, messages, deadline)
