"""Wrong about when."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class _Delaying(Wrapped, ABC):
    """Makes another delay of the one that was asked for."""

    @abstractmethod
    def delayed(self, message: Message, due: datetime) -> datetime | None:
        """When it is due instead."""

    def changed_message(self, message: Message) -> Message:
        return message if message.due is None else replace(message, due=self.delayed(message, message.due))


@mutant("S01")
class DropsTheDelay(Wrapped):
    """What was published for later is delivered now."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, due=None)


@mutant("S01")
class RoundsTheDelayUp(_Delaying):
    """Delays are whole minutes."""

    def delayed(self, message: Message, due: datetime) -> datetime:
        del message
        return due + timedelta(seconds=60)


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
class ShortensALongDelay(_Delaying):
    """A delay longer than a quarter of an hour is one of a quarter of an hour."""

    def delayed(self, message: Message, due: datetime) -> datetime:
        return min(due, message.time + timedelta(minutes=15))


@mutant("S02")
class OverflowsADelay(_Delaying):
    """Milliseconds of a delay are kept in 31 bits; a longer one is none."""

    def delayed(self, message: Message, due: datetime) -> datetime | None:
        return due if (due - message.time).total_seconds() * 1000 < 2**31 else None


@mutant("S03")
class DelaysInOneLine(_Delaying):
    """Delayed messages wait in one queue, and what is behind is not due before what is in front."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._last: datetime | None = None

    def delayed(self, message: Message, due: datetime) -> datetime:
        del message
        self._last = max(due, self._last or due) + timedelta(milliseconds=10)
        return self._last


@mutant("S05")
class ForgetsWhenItExpires(Wrapped):
    """The time that a message expires at does not travel with it."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, expires=None)


@mutant("S08")
class DelaysByTheRightClock(_Delaying):
    """How long a message waits is reckoned from the broker's own time, and not from the publisher's."""

    def delayed(self, message: Message, due: datetime) -> datetime:
        return message.time + (due - datetime.now(UTC))


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
