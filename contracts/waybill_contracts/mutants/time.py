"""Wrong about when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from waybill.adapter import Sink
from waybill.message import Message
from waybill.outcomes import SendResult
from waybill.topology import Destination
from waybill_contracts.mutants.moves import confirmed
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("S01")
class DropsTheDelay(Wrapped):
    """What was published for later is delivered now."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, due=None)


@mutant("S01")
class RoundsTheDelayUp(Wrapped):
    """Delays are whole minutes."""

    def changed_message(self, message: Message) -> Message:
        if message.due is None:
            return message
        return replace(message, due=message.due + timedelta(seconds=60))


@mutant("S01")
class HoldsUpWhatIsNotDelayed(Wrapped):
    """What is published behind a delayed message waits as long."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._due: datetime | None = None

    def changed_message(self, message: Message) -> Message:
        self._due = message.due or self._due
        return replace(message, due=self._due)


@mutant("S02")
class ShortensALongDelay(Wrapped):
    """A delay longer than a quarter of an hour is one of a quarter of an hour."""

    def changed_message(self, message: Message) -> Message:
        if message.due is None:
            return message
        return replace(message, due=min(message.due, message.time + timedelta(minutes=15)))


@mutant("S02")
class OverflowsADelay(Wrapped):
    """Milliseconds of a delay are kept in 31 bits; a longer one is none."""

    def changed_message(self, message: Message) -> Message:
        if message.due is None or (message.due - message.time).total_seconds() * 1000 < 2**31:
            return message
        return replace(message, due=None)


@mutant("S03")
class DelaysInOneLine(Wrapped):
    """Delayed messages wait in one queue, and what is behind is not due before what is in front."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._last: datetime | None = None

    def changed_message(self, message: Message) -> Message:
        if message.due is None:
            return message
        self._last = max(message.due, self._last or message.due) + timedelta(milliseconds=10)
        return replace(message, due=self._last)


@mutant("S05")
class ForgetsWhenItExpires(Wrapped):
    """The time that a message expires at does not travel with it."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, expires=None)


@mutant("S08")
class DelaysByTheRightClock(Wrapped):
    """How long a message waits is reckoned from the broker's own time, and not from the publisher's."""

    def changed_message(self, message: Message) -> Message:
        if message.due is None:
            return message
        return replace(message, due=message.time + (message.due - datetime.now(UTC)))


@mutant("S08")
class ExpiresByTheRightClock(Wrapped):
    """What has expired by the broker's own time is confirmed and thrown away."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        now = datetime.now(UTC)
        fresh = [message for message in messages if message.expires is None or message.expires > now]
        if fresh:
            await super().do_send(sink, to, fresh, deadline)
        return confirmed(messages)
