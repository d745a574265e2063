"""Wrong about what becomes of dead letters, and of those who look at them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from waybill.adapter import Page, Sink, Source
from waybill.message import Delivery, Message
from waybill.outcomes import (
    ACK,
    DONE,
    Ack,
    DeadLetter,
    ExtendResult,
    Release,
    Settled,
    Settlement,
    SettleResult,
)
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.settlement import Changing
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


class _Burying(Wrapped):
    """Writes dead letters that are not what they should be."""

    def buried(self, letter: Message) -> Message:
        return letter

    def places(self, subscription: Subscription) -> Sequence[str]:
        """The groups among whose dead letters it is put."""
        return [subscription.group]

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        letters = [
            self.buried(msgspec.structs.replace(item.delivery.message, dead=item.settlement.record))
            for item in settled
            if isinstance(item.settlement, DeadLetter)
        ]
        for group in self.places(subscription) if letters else ():
            async with self.inner.sink(Destination("dead", subscription.topic, group)) as sink:
                await sink.send(letters, deadline=asyncio.get_running_loop().time() + 5)
        acked = [Settled(i.delivery, ACK) if isinstance(i.settlement, DeadLetter) else i for i in settled]
        return await super().do_settle(source, subscription, acked)


@mutant("D01")
class BuriesWithoutHeaders(_Burying):
    """A dead letter has its body and its id, and nothing else of its message."""

    def buried(self, letter: Message) -> Message:
        return msgspec.structs.replace(letter, headers={}, key=None)


@mutant("D01")
class BuriesUnderAnotherId(_Burying):
    """A dead letter is a new message."""

    def buried(self, letter: Message) -> Message:
        return msgspec.structs.replace(letter, id=f"dead-{letter.id}")


@mutant("D02")
class RecordsHalf(_Burying):
    """A dead letter says why, and neither when nor where."""

    def buried(self, letter: Message) -> Message:
        assert letter.dead is not None
        epoch = datetime.fromtimestamp(0, UTC)
        record = msgspec.structs.replace(letter.dead, at=epoch, first_failure=None, stack=None, host="", process=0)
        return msgspec.structs.replace(letter, dead=record)


@mutant("D03")
class DropsWhatIsTooLong(Changing):
    """A dead letter whose record is long is not written, and its message is acknowledged."""

    def changed(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        return ACK if isinstance(settlement, DeadLetter) and len(settlement.record.detail) > 500 else settlement


@mutant("D05")
class BuriesWhatItCouldRead(_Burying):
    """Of bytes that are no text, a dead letter has what can be read."""

    def buried(self, letter: Message) -> Message:
        return msgspec.structs.replace(letter, body=(letter.body or b"").decode("utf-8", "ignore").encode())


@mutant("D06")
class SharesDeadLetters(_Burying):
    """A dead letter of one group is seen among those of every group."""

    groups: ClassVar[defaultdict[str, set[str]]] = defaultdict(set)

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        self.groups[subscription.topic.name].add(subscription.group)
        return subscription

    def places(self, subscription: Subscription) -> Sequence[str]:
        return sorted(self.groups[subscription.topic.name])


@mutant("D07", "fault-30")
class DropsWhatIsRejected(Changing):
    """What is rejected is acknowledged."""

    def changed(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        return ACK if isinstance(settlement, DeadLetter) and settlement.record.reason == "rejected" else settlement


class _Taken:
    """Dead letters, as somebody takes them; everything as the inner source does it."""

    def __init__(self, inner: Source) -> None:
        self._inner = inner

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        return await self._inner.receive(limit)

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        return await self._inner.settle(settled)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        return await self._inner.extend(deliveries)

    async def quiesce(self) -> None:
        await self._inner.quiesce()


class _Gone(_Taken):
    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await self._inner.receive(limit)
        await self._inner.settle([Settled(delivery, ACK) for delivery in deliveries])
        return deliveries

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        return [DONE] * len(settled)


class _Kept(_Taken):
    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        await self._inner.settle([Settled(i.delivery, Release()) if type(i.settlement) is Ack else i for i in settled])
        return [DONE] * len(settled)


@mutant("D07")
class DropsMoreThanItIsTold(Wrapped):
    """Whoever takes dead letters to give up one takes all of them away."""

    @asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        async with self.inner.dead_letters(subscription) as source:
            yield _Gone(source)


@mutant("D09")
class RemovesBeforeItIsTold(Wrapped):
    """What is taken of the dead letters is removed at once, before its copy is anywhere."""

    @asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        async with self.inner.dead_letters(subscription) as source:
            yield _Gone(source)


@mutant("D08")
class KeepsWhatWasRedriven(Wrapped):
    """A dead letter stays one though it was redriven."""

    @asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        async with self.inner.dead_letters(subscription) as source:
            yield _Kept(source)


@mutant("D08")
class RedrivesThroughTheTopic(Wrapped):
    """What is redriven is published again, and every group gets it."""

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        if destination.kind == "group":
            destination = Destination("topic", destination.topic)
        async with super().sink(destination) as sink:
            yield sink


@mutant("D10")
class DropsWhatIsTooLate(Changing):
    """What nobody handled in time is gone."""

    def changed(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        return ACK if isinstance(settlement, DeadLetter) and settlement.record.reason == "expired" else settlement


@mutant("D11")
class RedrivesByItself(Changing):
    """What has been redriven once is tried for ever."""

    def changed(self, settled: Settled) -> Settlement:
        if isinstance(settled.settlement, DeadLetter) and settled.delivery.message.redrives:
            return Release(0)
        return settled.settlement


@mutant("D14")
class TakesWhatIsLookedAt(Wrapped):
    """Who has looked at a dead letter has taken it: the next look begins behind it."""

    async def do_browse(self, subscription: Subscription, after: str | None, limit: int) -> Page:
        page = await super().do_browse(subscription, after, limit)
        async with self.inner.dead_letters(subscription) as source:
            await source.settle([Settled(delivery, ACK) for delivery in await source.receive(1)])
        return page


@mutant("D14")
class ShowsEachPageBackwards(Wrapped):
    """Each page of dead letters begins with its newest."""

    async def do_browse(self, subscription: Subscription, after: str | None, limit: int) -> Page:
        page = await super().do_browse(subscription, after, limit)
        return msgspec.structs.replace(page, messages=list(reversed(page.messages)))
