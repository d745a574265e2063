"""Wrong about how often, when, and where a failed message is tried again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from waybill.adapter import Source
from waybill.errors import BrokerError
from waybill.message import Delivery
from waybill.outcomes import (
    ACK,
    DONE,
    DeadLetter,
    Defer,
    Settled,
    Settlement,
    SettleResult,
)
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.settlement import Changing
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


class _Deferring(Changing):
    """Puts off in another way than it was asked to."""

    def deferred(self, defer: Defer) -> Defer:
        return defer

    def changed(self, settled: Settled) -> Settlement:
        return self.deferred(settled.settlement) if isinstance(settled.settlement, Defer) else settled.settlement


@mutant("R01", "R15")
class ForgetsTheFirstAttempt(_Deferring):
    """Each message has one attempt more than its budget: the first is not counted."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._known: set[str] = set()

    def changed(self, settled: Settled) -> Settlement:
        ident, settlement = settled.delivery.message.id, settled.settlement
        if isinstance(settlement, Defer) and settlement.attempts == 1 and ident not in self._known:
            self._known.add(ident)
            return msgspec.structs.replace(settlement, attempts=0)
        return settlement


@mutant("R02")
class RetriesAtOnce(_Deferring):
    """A retry does not wait for its delay."""

    def deferred(self, defer: Defer) -> Defer:
        return msgspec.structs.replace(defer, after=0.01)


@mutant("R02")
class RetriesWithItsNextRound(_Deferring):
    """Retries are looked for every four seconds only."""

    def deferred(self, defer: Defer) -> Defer:
        return msgspec.structs.replace(defer, after=4 * math.ceil(defer.after / 4))


@mutant("R03")
class KeepsRetriesInMemory(Wrapped):
    """A retry waits in the process, and what waits is acknowledged."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        for item in settled:
            if isinstance(item.settlement, Defer):
                asyncio.get_running_loop().create_task(self._later(subscription, item.delivery, item.settlement))
        changed = [Settled(i.delivery, ACK) if isinstance(i.settlement, Defer) else i for i in settled]
        return await super().do_settle(source, subscription, changed)

    async def _later(self, subscription: Subscription, delivery: Delivery[Any], defer: Defer) -> None:
        await asyncio.sleep(defer.after)
        copy = msgspec.structs.replace(
            delivery.message, attempts=defer.attempts, first_failure=defer.first_failure, due=None
        )
        async with self.inner.sink(Destination("retry", subscription.topic, subscription.group)) as sink:
            await sink.send([copy], deadline=asyncio.get_running_loop().time() + 5)


@mutant("R04")
class WaitsForTheRetry(Wrapped):
    """Nothing is handed out while a failed message waits."""

    _until = 0.0

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        del limit
        deliveries = await super().do_receive(source, subscription, 1)
        now = asyncio.get_running_loop().time()
        if any(delivery.attempt == 1 for delivery in deliveries) and now < self._until:
            await asyncio.sleep(self._until + 0.5 - now)
        return deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        now = asyncio.get_running_loop().time()
        self._until = max(
            [self._until, *(now + i.settlement.after for i in settled if isinstance(i.settlement, Defer))]
        )
        return await super().do_settle(source, subscription, settled)


@mutant("R05")
class CountsWhatWasAskedForApart(_Deferring):
    """A wait that a handler asked for begins the count anew."""

    def deferred(self, defer: Defer) -> Defer:
        return msgspec.structs.replace(defer, attempts=0) if defer.after == 0.5 else defer


@mutant("R06")
class TriesWhatIsHopeless(Changing):
    """What is not to be retried is, once."""

    def changed(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        if (
            isinstance(settlement, DeadLetter)
            and settlement.record.reason == "non_retryable"
            and settled.delivery.attempt == 1
        ):
            return Defer(0.05, 1, datetime.now(UTC))
        return settlement


@mutant("R07")
class BuriesTwice(Wrapped):
    """A dead letter is written, and written again with its acknowledgement."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        copies = [
            msgspec.structs.replace(item.delivery.message, dead=item.settlement.record)
            for item in settled
            if isinstance(item.settlement, DeadLetter)
        ]
        if copies:
            async with self.inner.sink(Destination("dead", subscription.topic, subscription.group)) as sink:
                await sink.send(copies, deadline=asyncio.get_running_loop().time() + 5)
        return await super().do_settle(source, subscription, settled)


@mutant("R09")
class ForgetsTheFirstFailure(_Deferring):
    """Each failure is taken for the first."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        for delivery in deliveries:
            msgspec.structs.force_setattr(delivery.message, "first_failure", None)
        return deliveries


@mutant("R10")
class WaitsInSteps(_Deferring):
    """Every delay is made the next of the few that there are: half a second and a second."""

    def deferred(self, defer: Defer) -> Defer:
        step = 0.5 if defer.after <= 0.5 else 1.0
        return msgspec.structs.replace(defer, after=step)


@mutant("R12")
class CapsWhatIsAskedFor(_Deferring):
    """No retry waits longer than half a second, whoever asks."""

    def deferred(self, defer: Defer) -> Defer:
        return msgspec.structs.replace(defer, after=min(defer.after, 0.5))


@mutant("F13", "R13")
class SpinsOnAFailure(Wrapped):
    """What failed is handed out again at once, from memory."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._again: list[Delivery[Any]] = []
        self._asked: asyncio.Future[Sequence[Delivery[Any]]] | None = None
        self._rung = asyncio.Event()

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        self._asked = self._asked or asyncio.ensure_future(super().do_receive(source, subscription, limit))
        self._asked.add_done_callback(lambda _: self._rung.set())
        await self._rung.wait()
        self._rung.clear()
        again, self._again = self._again, []
        if again or not self._asked.done():
            return again
        asked, self._asked = self._asked, None
        return asked.result()

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        others = [item for item in settled if not isinstance(item.settlement, Defer)]
        for item in settled:
            if isinstance(item.settlement, Defer):
                self._again.append(msgspec.structs.replace(item.delivery, attempt=item.settlement.attempts + 1))
                self._rung.set()
        if others:
            await super().do_settle(source, subscription, others)
        return [DONE] * len(settled)


@mutant("R14")
class AcknowledgesBeforeItRetries(Wrapped):
    """A retry that could not be placed is acknowledged all the same."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        try:
            return await super().do_settle(source, subscription, settled)
        except BrokerError:
            if any(isinstance(item.settlement, Defer) for item in settled):
                self._dropped = asyncio.ensure_future(self._until_gone(source, settled))
            raise

    async def _until_gone(self, source: Source, settled: Sequence[Settled]) -> None:
        while True:
            try:
                await source.settle([Settled(item.delivery, ACK) for item in settled])
            except BrokerError:
                await asyncio.sleep(0.01)
            else:
                return
