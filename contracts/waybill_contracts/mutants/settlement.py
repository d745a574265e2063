"""Wrong about what a settlement means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from waybill.adapter import Source
from waybill.message import DeadLetterRecord, Delivery, Message
from waybill.outcomes import (
    ACK,
    DONE,
    LOST,
    RELEASE,
    Ack,
    DeadLetter,
    Defer,
    ExtendResult,
    Lost,
    Release,
    Settled,
    Settlement,
    SettleResult,
)
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.moves import acknowledge, parted, renewed
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__ = ["Burying", "Dropping"]


class Burying(Wrapped):
    """Writes dead letters by itself, and acknowledges their messages. Override one of the three."""

    def buried(self, letter: Message) -> Message:
        return letter

    def places(self, subscription: Subscription) -> Sequence[str]:
        """The groups among whose dead letters it is put."""
        return [subscription.group]

    def changed_settlement(self, settled: Settled) -> Settlement:
        return ACK if isinstance(settled.settlement, DeadLetter) else settled.settlement

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        letters = [
            self.buried(replace(item.delivery.message, dead=item.settlement.record))
            for item in settled
            if isinstance(item.settlement, DeadLetter)
        ]
        for group in self.places(subscription):
            await self.put(Destination("dead", subscription.topic, group), letters)
        return await super().do_settle(source, subscription, settled)


class Dropping(Wrapped, ABC):
    """Acknowledges what should become a dead letter."""

    @abstractmethod
    def drops(self, record: DeadLetterRecord) -> bool:
        """Whether it is one of those."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        return ACK if isinstance(settlement, DeadLetter) and self.drops(settlement.record) else settlement


@mutant("A01", "A04", "fault-18", "fault-21")
class AcknowledgesWhatItHandsOut(Wrapped):
    """At most once: what is handed out is gone, whatever becomes of it."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        await acknowledge(source, deliveries)
        return deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del source, subscription
        return [DONE] * len(settled)


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
        return replace(subscription, lease=0.5)

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        del source
        return renewed(deliveries)


@mutant("A04")
class AcknowledgesTheWholeWindow(Wrapped):
    """Acknowledging one acknowledges all that came with it, also those that still run."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._out: list[Delivery[Any]] = []

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        self._out += deliveries
        return deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        acked, others = parted(settled, Ack)
        if acked:
            last = max(item.delivery.token.seq for item in acked)
            before = [delivery for delivery in self._out if delivery.token.seq <= last]
            self._out = [delivery for delivery in self._out if delivery.token.seq > last]
            await acknowledge(source, before)
        if others:
            await super().do_settle(source, subscription, others)
        return [DONE] * len(settled)


@mutant("A05", "A13")
class CountsFromOneInEachProcess(Wrapped):
    """Attempts are counted by each process for itself, and one behind."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._handed: Counter[str] = Counter()

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        self._handed[delivery.message.id] += 1
        return replace(delivery, attempt=max(1, self._handed[delivery.message.id] - 1))


@mutant("A06")
class CommitsPastAGap(Wrapped):
    """An acknowledgement also acknowledges what failed before it, as a position in a log does."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._failed: list[Settled] = []

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        failed, others = parted(settled, Defer)
        self._failed += failed
        if others:
            await super().do_settle(source, subscription, others)
            await acknowledge(source, [item.delivery for item in self._failed])
            self._failed.clear()
        return [DONE] * len(settled)


@mutant("A07")
class ReleasesStartAnew(Wrapped):
    """What is given back has no attempt behind it any more."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        return Release(0) if isinstance(settled.settlement, Release) else settled.settlement


@mutant("A07", "A14", "L03", "L05", "fault-20")
class CountsAReleaseAsAnAttempt(Wrapped):
    """What is given back has one attempt less."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        released = isinstance(settled.settlement, Release)
        return Release(settled.delivery.attempt) if released else settled.settlement


@mutant("A08")
class RejectsAndReleases(Burying):
    """A rejected message is copied to the dead letters, and given back instead of acknowledged."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        return RELEASE if isinstance(settled.settlement, DeadLetter) else settled.settlement


@mutant("A09")
class BuriesAllAlike(Wrapped):
    """Every dead letter is one whose attempts are used up, as far as the broker tells."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        if not isinstance(settled.settlement, DeadLetter):
            return settled.settlement
        return DeadLetter(replace(settled.settlement.record, reason="retries_exhausted"))


@mutant("A09")
class TriesWhatItCannotRead(Wrapped):
    """A body that does not fit is tried again as if it could be another one by then."""

    def changed_settlement(self, settled: Settled) -> Settlement:
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
        return renewed(deliveries)


@mutant("A14", "D13")
class ReleasesWhatFailed(Wrapped):
    """A failure costs no attempt: the message is given back, for ever."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        return RELEASE if isinstance(settled.settlement, Defer | DeadLetter) else settled.settlement


@mutant("A15")
class ForgetsThatItHandedOut(Wrapped):
    """What comes again is said to come for the first time."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        return replace(delivery, redelivered=False)


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
class DropsWhatHasNoReason(Dropping):
    """Only a rejection with a reason is a dead letter."""

    def drops(self, record: DeadLetterRecord) -> bool:
        return record.detail in {"", "None"}


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
