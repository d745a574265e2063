"""Wrong about how often, when, and where a failed message is tried again."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import force_setattr, replace

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
from waybill_contracts.mutants.moves import in_background, insist, parted
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.settlement import Burying
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


class _Deferring(Wrapped, ABC):
    """Puts off in another way than it was asked to."""

    @abstractmethod
    def deferred(self, defer: Defer) -> Defer:
        """What it does instead."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        return self.deferred(settled.settlement) if isinstance(settled.settlement, Defer) else settled.settlement


@mutant("R01", "R15", "R16")
class ForgetsTheFirstAttempt(Wrapped):
    """Each message has one attempt more than its budget: the first is not counted."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._known: set[str] = set()

    def changed_settlement(self, settled: Settled) -> Settlement:
        ident, settlement = settled.delivery.message.id, settled.settlement
        if isinstance(settlement, Defer) and settlement.attempts == 1 and ident not in self._known:
            self._known.add(ident)
            return replace(settlement, attempts=0)
        return settlement


@mutant("F14")
class CountsWhatWasPutOff(_Deferring):
    """A message that was put off without having been handled has lost an attempt."""

    def deferred(self, defer: Defer) -> Defer:
        return replace(defer, attempts=max(1, defer.attempts))


@mutant("R02")
class RetriesAtOnce(_Deferring):
    """A retry does not wait for its delay."""

    def deferred(self, defer: Defer) -> Defer:
        return replace(defer, after=0.01)


@mutant("R02")
class RetriesWithItsNextRound(_Deferring):
    """Retries are looked for every four seconds only."""

    def deferred(self, defer: Defer) -> Defer:
        return replace(defer, after=4 * math.ceil(defer.after / 4))


@mutant("R03")
class KeepsRetriesInMemory(Wrapped):
    """A retry waits in the process, and what waits is acknowledged."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        for item in settled:
            if isinstance(item.settlement, Defer):
                in_background(self._later(subscription, item.delivery, item.settlement))
        return await super().do_settle(source, subscription, settled)

    def changed_settlement(self, settled: Settled) -> Settlement:
        return ACK if isinstance(settled.settlement, Defer) else settled.settlement

    async def _later(self, subscription: Subscription, delivery: Delivery[Any], defer: Defer) -> None:
        await asyncio.sleep(defer.after)
        copy = replace(delivery.message, attempts=defer.attempts, first_failure=defer.first_failure, due=None)
        await self.put(Destination("retry", subscription.topic, subscription.group), [copy])


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
        return replace(defer, attempts=0) if defer.after == 0.5 else defer


@mutant("R06")
class TriesWhatIsHopeless(Wrapped):
    """What is not to be retried is, once."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        if (
            isinstance(settlement, DeadLetter)
            and settlement.record.reason == "non_retryable"
            and settled.delivery.attempt == 1
        ):
            return Defer(0.05, 1, datetime.now(UTC))
        return settlement


@mutant("R07")
class BuriesTwice(Burying):
    """A dead letter is written, and written again with its acknowledgement."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        return settled.settlement


@mutant("R08")
class RetriesThroughTheTopic(Wrapped):
    """A retry is published to the topic again, where every group sees it."""

    attempts = 1
    """From so many on."""

    def _copied(self, settled: Settled) -> bool:
        return isinstance(settled.settlement, Defer) and settled.delivery.attempt >= self.attempts

    def changed_settlement(self, settled: Settled) -> Settlement:
        return ACK if self._copied(settled) else settled.settlement

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        deliveries = [item.delivery for item in settled if self._copied(item)]
        copies = [replace(delivery.message, attempts=delivery.attempt) for delivery in deliveries]
        await self.put(Destination("topic", subscription.topic), copies)
        return await super().do_settle(source, subscription, settled)


@mutant("R08")
class SharesTheRetryPlace(RetriesThroughTheTopic):
    """Retries of all groups wait in one place, and each of them takes what is due: the last retry only."""

    attempts = 2


@mutant("R09")
class ForgetsTheFirstFailure(Wrapped):
    """Each failure is taken for the first."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        force_setattr(delivery.message, "first_failure", None)
        return delivery


@mutant("R10")
class WaitsInSteps(_Deferring):
    """Every delay is made the next of the few that there are: half a second and a second."""

    def deferred(self, defer: Defer) -> Defer:
        step = 0.5 if defer.after <= 0.5 else 1.0
        return replace(defer, after=step)


@mutant("R12")
class CapsWhatIsAskedFor(_Deferring):
    """No retry waits longer than half a second, whoever asks."""

    def deferred(self, defer: Defer) -> Defer:
        return replace(defer, after=min(defer.after, 0.5))


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
        failed, others = parted(settled, Defer)
        self._again += [replace(item.delivery, attempt=item.delivery.attempt + 1) for item in failed]
        if failed:
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
                in_background(insist(source, [Settled(item.delivery, ACK) for item in settled]))
            raise
