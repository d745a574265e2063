"""What SQS says to a receipt handle, which the emulators take however old it is.

Pages of the Amazon SQS API reference: "DeleteMessage" (the handle has to be of the latest receive, else the call succeeds and the message
may stay: here it stays) and "ChangeMessageVisibility" (at most 12 hours since the receive; the message has to be in flight). A FIFO
queue also refuses to delete by a handle whose visibility timeout has ended: "Amazon SQS visibility timeout" in the developer
guide.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from tests.brokers.strict.places import Place
from tests.brokers.strict.refusing import Refusal, bad_value, first, missing, out_of

HALF_A_DAY = 12 * 3600
REMEMBERED = 200_000
Ignored = Literal["ignored"]
"""AWS says that it is done, and does nothing."""


class State(enum.Enum):
    UNKNOWN = enum.auto()
    """Nobody received by it, or it was forgotten."""
    DELETED = enum.auto()
    SUPERSEDED = enum.auto()
    """The message was received again, by another handle."""
    EXPIRED = enum.auto()
    """Whoever asks next may receive the message."""
    HELD = enum.auto()


@dataclass
class Receipt:
    message: tuple[str, str]
    """Of which queue, and its id there."""
    received: float
    until: float
    deleted: bool = False


class Receipts:
    """All handles that were given out, with the times of one clock in seconds."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()
        self._latest: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._remembered = remembered

    def received(self, place: Place, message: str, handle: str, visibility: float, now: float) -> None:
        key = (place.name, message)
        self._receipts[handle] = Receipt(key, now, now + visibility)
        self._latest[key] = handle
        for known in (self._receipts, self._latest):
            while len(known) > self._remembered:
                known.popitem(last=False)

    def changed(self, handle: str, visibility: float, now: float) -> None:
        if receipt := self._receipts.get(handle):
            receipt.until = now + visibility

    def held_until(self, handle: str) -> float | None:
        """By whom has it; `None`: it was deleted, or received by another handle since."""
        receipt = self._receipts.get(handle)
        latest = receipt is not None and self._latest.get(receipt.message) == handle
        return receipt.until if receipt is not None and latest and not receipt.deleted else None

    def deleted(self, handle: str) -> None:
        if receipt := self._receipts.get(handle):
            receipt.deleted = True

    def state(self, place: Place, handle: str, now: float) -> State:
        receipt = self._receipts.get(handle)
        if receipt is None or receipt.message[0] != place.name:
            return State.UNKNOWN
        if receipt.deleted:
            return State.DELETED
        if self._latest.get(receipt.message) != handle:
            return State.SUPERSEDED
        return State.HELD if now < receipt.until else State.EXPIRED

    def refuse_delete(self, place: Place, handle: str | None, now: float) -> Refusal | Ignored | None:
        if not handle:
            return missing("ReceiptHandle")
        match self.state(place, handle, now):
            case State.UNKNOWN:
                return unknown(handle)
            case State.SUPERSEDED if not place.fifo:
                return "ignored"
            case State.SUPERSEDED | State.EXPIRED if place.fifo:
                return bad_value("ReceiptHandle", handle, "The receipt handle has expired.")
            case State.DELETED:
                return "ignored"
            case _:
                return None

    def refuse_change(self, place: Place, handle: str | None, seconds: int | None, now: float) -> Refusal | None:
        if not handle or seconds is None:
            return missing("VisibilityTimeout" if handle else "ReceiptHandle")
        match self.state(place, handle, now):
            case State.UNKNOWN:
                return unknown(handle)
            case State.DELETED | State.SUPERSEDED:
                reason = "Message does not exist or is not available for visibility timeout change."
                return bad_value("ReceiptHandle", handle, reason)
            case State.EXPIRED:
                return Refusal("AWS.SimpleQueueService.MessageNotInflight", "The specified message isn't in flight.")
            case State.HELD:
                return first(out_of("VisibilityTimeout", seconds, 0, HALF_A_DAY), self._beyond(handle, seconds, now))

    def _beyond(self, handle: str, seconds: int, now: float) -> Refusal | None:
        if not seconds or now + seconds <= self._receipts[handle].received + HALF_A_DAY:
            return None
        reason = f"Total VisibilityTimeout for the message is beyond the limit [{HALF_A_DAY} seconds]"
        return bad_value("VisibilityTimeout", seconds, reason)


def unknown(handle: str) -> Refusal:
    return Refusal("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')
