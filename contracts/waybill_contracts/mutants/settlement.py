"""Wrong about what a settlement means."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from waybill.adapter import Source
from waybill.message import Delivery
from waybill.outcomes import (
    ACK,
    DONE,
    LOST,
    RELEASE,
    Ack,
    DeadLetter,
    Defer,
    Extended,
    ExtendResult,
    Lost,
    Release,
    Settled,
    Settlement,
    SettleResult,
)
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__ = ["Changing"]


class Changing(Wrapped):
    """Settles some in another way than it was asked to."""

    def changed(self, settled: Settled) -> Settlement:
        return settled.settlement

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        changed = [Settled(item.delivery, self.changed(item)) for item in settled]
        return await super().do_settle(source, subscription, changed)


@mutant("A02", "A12")
class LosesWhatAnotherTaskSettles(Wrapped):
    """Only the task that has received may settle: of what another one settles the broker never hears."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del source, subscription
        return [DONE] * len(settled)


@mutant("A03")
class LeasesForAMoment(Wrapped):
    """What is handed out is anybody's after half a second, however long its handler runs."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        return msgspec.structs.replace(subscription, lease=0.5)

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        del source
        return [Extended(asyncio.get_running_loop().time() + 3600)] * len(deliveries)


@mutant("A05", "A13")
class CountsFromOneInEachProcess(Wrapped):
    """Attempts are counted by each process for itself, and one behind."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._handed: Counter[str] = Counter()

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        self._handed.update(delivery.message.id for delivery in deliveries)
        return [
            msgspec.structs.replace(delivery, attempt=max(1, self._handed[delivery.message.id] - 1))
            for delivery in deliveries
        ]


@mutant("A07")
class ReleasesStartAnew(Changing):
    """What is given back has no attempt behind it any more."""

    def changed(self, settled: Settled) -> Settlement:
        return Release(0) if isinstance(settled.settlement, Release) else settled.settlement


@mutant("A08")
class RejectsAndReleases(Changing):
    """A rejected message is copied to the dead letters, and given back instead of acknowledged."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        copies = [
            msgspec.structs.replace(item.delivery.message, dead=item.settlement.record)
            for item in settled
            if isinstance(item.settlement, DeadLetter)
        ]
        async with self.inner.sink(Destination("dead", subscription.topic, subscription.group)) as sink:
            await sink.send(copies, deadline=asyncio.get_running_loop().time() + 5)
        return await super().do_settle(source, subscription, settled)

    def changed(self, settled: Settled) -> Settlement:
        return RELEASE if isinstance(settled.settlement, DeadLetter) else settled.settlement


@mutant("A09")
class BuriesAllAlike(Changing):
    """Every dead letter is one whose attempts are used up, as far as the broker tells."""

    def changed(self, settled: Settled) -> Settlement:
        if not isinstance(settled.settlement, DeadLetter):
            return settled.settlement
        return DeadLetter(msgspec.structs.replace(settled.settlement.record, reason="retries_exhausted"))


@mutant("A09")
class TriesWhatItCannotRead(Changing):
    """A body that does not fit is tried again as if it could be another one by then."""

    def changed(self, settled: Settled) -> Settlement:
        settlement, delivery = settled.settlement, settled.delivery
        if isinstance(settlement, DeadLetter) and settlement.record.reason == "decode_error" and delivery.attempt < 3:
            return Defer(0.05, delivery.attempt, datetime.now(UTC))
        return settlement


class _Answering(Wrapped):
    """Answers a second settling of its own accord."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._settled: set[Any] = set()

    answer: SettleResult

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        results = await super().do_settle(source, subscription, settled)
        tokens = [item.delivery.token for item in settled]
        again = [token in self._settled for token in tokens]
        self._settled.update(tokens)
        return [self.answer if known else result for known, result in zip(again, results, strict=True)]


@mutant("A10")
class TakesARepeatForALoss(_Answering):
    """A settlement that is repeated, since its answer got lost, is answered as lost."""

    answer = LOST


@mutant("A10")
class SaysYesToEverything(_Answering):
    """Whatever is asked for later about a settled message is said to be done."""

    answer = DONE


@mutant("A11")
class SaysThatALateResultCounts(Wrapped):
    """A settlement that came after the lease was lost is answered as done."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        results = await super().do_settle(source, subscription, settled)
        return [DONE if isinstance(result, Lost) else result for result in results]

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        await super().do_extend(source, deliveries)
        return [Extended(asyncio.get_running_loop().time() + 3600)] * len(deliveries)


@mutant("A14")
class ReleasesWhatFailed(Changing):
    """A failure costs no attempt: the message is given back."""

    def changed(self, settled: Settled) -> Settlement:
        return RELEASE if isinstance(settled.settlement, Defer | DeadLetter) else settled.settlement


@mutant("A15")
class ForgetsThatItHandedOut(Wrapped):
    """What comes again is said to come for the first time."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        return [msgspec.structs.replace(delivery, redelivered=False) for delivery in deliveries]


@mutant("A16")
class AcknowledgesALotAsOne(Wrapped):
    """Where some of a lot are acknowledged, all are."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        if any(isinstance(item.settlement, Ack) for item in settled):
            settled = [Settled(item.delivery, ACK) for item in settled]
        return await super().do_settle(source, subscription, settled)


@mutant("A16")
class FailsALotAsOne(Wrapped):
    """Where one of a lot has failed, all are tried again."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        failed = next((item.settlement for item in settled if isinstance(item.settlement, Defer)), None)
        if failed is not None:
            settled = [Settled(item.delivery, failed) for item in settled]
        return await super().do_settle(source, subscription, settled)


@mutant("A17")
class DropsWhatHasNoReason(Changing):
    """Only a rejection with a reason is a dead letter."""

    def changed(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        if isinstance(settlement, DeadLetter) and settlement.record.detail in {"", "None"}:
            return ACK
        return settlement


@mutant("A18")
class WaitsForTheNextNumber(Wrapped):
    """What is acknowledged counts up to the first number that is missing, though it may never come."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._waiting: dict[int, Settled] = {}
        self._next: int | None = None

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        self._waiting |= {item.delivery.token.seq: item for item in settled}
        if self._next is None:
            self._next = min(self._waiting)
        contiguous: list[Settled] = []
        while self._next in self._waiting:
            contiguous.append(self._waiting.pop(self._next))
            self._next += 1
        if contiguous:
            await super().do_settle(source, subscription, contiguous)
        return [DONE] * len(settled)
