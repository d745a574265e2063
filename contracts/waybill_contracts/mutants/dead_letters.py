"""Wrong about what becomes of dead letters, and of those who look at them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from waybill.adapter import Page, Sink, Source
from waybill.errors import BrokerError
from waybill.message import DeadLetterRecord, Delivery, Message
from waybill.outcomes import (
    ACK,
    DONE,
    RELEASE,
    Ack,
    Confirmed,
    DeadLetter,
    ExtendResult,
    Release,
    SendResult,
    Settled,
    Settlement,
    SettleResult,
)
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.moves import acknowledge, in_background, insist
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.settlement import Burying, Dropping
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("D01")
class BuriesWithoutHeaders(Burying):
    """A dead letter has its body and its id, and nothing else of its message."""

    def buried(self, letter: Message) -> Message:
        return replace(letter, headers={}, key=None)


@mutant("D01")
class BuriesUnderAnotherId(Burying):
    """A dead letter is a new message."""

    def buried(self, letter: Message) -> Message:
        return replace(letter, id=f"dead-{letter.id}")


@mutant("D02")
class RecordsHalf(Burying):
    """A dead letter says why, and neither when nor where."""

    def buried(self, letter: Message) -> Message:
        assert letter.dead is not None
        epoch = datetime.fromtimestamp(0, UTC)
        record = replace(letter.dead, at=epoch, first_failure=None, stack=None, host="", process=0)
        return replace(letter, dead=record)


@mutant("D01")
class BuriesWithoutItsTime(Burying):
    """A dead letter does not know any more by when it was to be handled."""

    def buried(self, letter: Message) -> Message:
        return replace(letter, expires=None)


@mutant("D02")
class RecordsNobody(Burying):
    """A dead letter says neither who has given it up nor where it was."""

    def buried(self, letter: Message) -> Message:
        assert letter.dead is not None
        return replace(letter, dead=replace(letter.dead, service="", handler="", place=""))


@mutant("D02")
class RecordsEachAsTheOnlyOne(Burying):
    """No two dead letters are alike."""

    def buried(self, letter: Message) -> Message:
        assert letter.dead is not None
        return replace(letter, dead=replace(letter.dead, fingerprint=letter.id))


@mutant("D02")
class RecordsAllAsOne(Burying):
    """Every dead-lettering has the same id."""

    def buried(self, letter: Message) -> Message:
        assert letter.dead is not None
        return replace(letter, dead=replace(letter.dead, id="1"))


@mutant("D02")
class RecordsWhatIsSecret(Burying):
    """A record tells the message's headers."""

    def buried(self, letter: Message) -> Message:
        assert letter.dead is not None
        return replace(letter, dead=replace(letter.dead, detail=f"{letter.dead.detail} {dict(letter.headers)}"))


@mutant("D03")
class DropsWhatIsTooLong(Dropping):
    """A dead letter whose record is long is not written, and its message is acknowledged."""

    def drops(self, record: DeadLetterRecord) -> bool:
        return len(record.detail) > 500


@mutant("D04")
class AcknowledgesBeforeItDeadLetters(Wrapped):
    """A dead letter that could not be written is acknowledged all the same."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        try:
            return await super().do_settle(source, subscription, settled)
        except BrokerError:
            if not any(isinstance(item.settlement, DeadLetter) for item in settled):
                raise
            in_background(insist(source, [Settled(item.delivery, ACK) for item in settled]))
            return [DONE] * len(settled)


@mutant("D04")
class GoesOnThoughDeadLettersCannotBePlaced(Wrapped):
    """A settlement that fails is reported as done, and made in the background: nobody hears of the trouble."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del subscription
        in_background(insist(source, settled))
        return [DONE] * len(settled)


@mutant("D05")
class BuriesWhatItCouldRead(Burying):
    """Of bytes that are no text, a dead letter has what can be read."""

    def buried(self, letter: Message) -> Message:
        return replace(letter, body=(letter.body or b"").decode("utf-8", "ignore").encode())


@mutant("D06")
class SharesDeadLetters(Burying):
    """A dead letter of one group is seen among those of every group."""

    groups: ClassVar[defaultdict[str, set[str]]] = defaultdict(set)

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        self.groups[subscription.topic.name].add(subscription.group)
        return subscription

    def places(self, subscription: Subscription) -> Sequence[str]:
        return sorted(self.groups[subscription.topic.name])


@mutant("D07", "fault-30")
class DropsWhatIsRejected(Dropping):
    """What is rejected is acknowledged."""

    def drops(self, record: DeadLetterRecord) -> bool:
        return record.reason == "rejected"


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
        await acknowledge(self._inner, deliveries)
        return deliveries

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        return [DONE] * len(settled)


class _Kept(_Taken):
    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        await self._inner.settle([Settled(i.delivery, RELEASE) if type(i.settlement) is Ack else i for i in settled])
        return [DONE] * len(settled)


@mutant("D07", "D09")
class RemovesBeforeItIsTold(Wrapped):
    """What is taken of the dead letters is removed at once, whatever becomes of it."""

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


@mutant("D08")
class ForgetsWhoBroughtItBack(Wrapped):
    """What is redriven does not tell by which redrive."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, redrive=None)


@mutant("D09")
class ConfirmsTooSoon(Wrapped):
    """Of what is sent to a group, all is confirmed when the first half is stored."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        half = len(messages) // 2 if to.kind == "group" else len(messages)
        results = list(await super().do_send(sink, to, messages[:half], deadline)) if half else []
        return [*results, *(Confirmed(message.id) for message in messages[half:])]


@mutant("D11")
class LosesWhatComesBackAgain(Wrapped):
    """What is redriven a second time is confirmed, and goes nowhere: its way back has another address."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        lost = {message.id for message in messages if to.kind == "group" and message.redrives > 1}
        sent = [message for message in messages if message.id not in lost]
        results = iter(await super().do_send(sink, to, sent, deadline) if sent else ())
        return [Confirmed(message.id) if message.id in lost else next(results) for message in messages]


@mutant("D10", "S05")
class DropsWhatIsTooLate(Dropping):
    """What nobody handled in time is gone."""

    def drops(self, record: DeadLetterRecord) -> bool:
        return record.reason == "expired"


@mutant("D11")
class RedrivesByItself(Wrapped):
    """What has been redriven once is tried for ever."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        if isinstance(settled.settlement, DeadLetter) and settled.delivery.message.redrives:
            return Release(0)
        return settled.settlement


@mutant("D12")
class ForgetsCrashes(Wrapped):
    """What killed a process comes back as if it had never been handed out."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        return replace(delivery, attempt=1)


@mutant("D12")
class BlamesTheNeighbours(Wrapped):
    """Whatever was held when a process died counts as what killed it."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        return replace(delivery, attempt=9) if (delivery.handed_out or 1) > 1 else delivery


@mutant("D13", "fault-28")
class DropsWhatHasNoAttemptsLeft(Dropping):
    """After the last attempt the message is acknowledged, and no dead letter written."""

    def drops(self, record: DeadLetterRecord) -> bool:
        return record.reason == "retries_exhausted"


@mutant("D14")
class TakesWhatIsLookedAt(Wrapped):
    """Who has looked at a dead letter has taken it: the next look begins behind it."""

    async def do_browse(self, subscription: Subscription, after: str | None, limit: int) -> Page:
        page = await super().do_browse(subscription, after, limit)
        async with self.inner.dead_letters(subscription) as source:
            await acknowledge(source, await source.receive(1))
        return page


@mutant("D14")
class ShowsEachPageBackwards(Wrapped):
    """Each page of dead letters begins with its newest."""

    async def do_browse(self, subscription: Subscription, after: str | None, limit: int) -> Page:
        page = await super().do_browse(subscription, after, limit)
        return replace(page, messages=list(reversed(page.messages)))
