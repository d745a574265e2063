"""How things end: a publish, a handling, and the settling of it. Small frozen values, one of each kind."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from waybill.message import DeadLetterRecord, Delivery

__all__ = [
    "ACK",
    "DONE",
    "LOST",
    "RELEASE",
    "Ack",
    "Confirmed",
    "DeadLetter",
    "Defer",
    "Done",
    "ExtendResult",
    "Extended",
    "Failed",
    "Lost",
    "Refused",
    "Release",
    "SendResult",
    "SettleResult",
    "Settled",
    "Settlement",
    "SettlementKind",
    "Unknown",
]


class Confirmed(msgspec.Struct, frozen=True):
    """The broker has it in its durable store."""

    id: str
    """The message's id."""
    position: str = ""
    """Where it lies, in the broker's own words; for people, not for programs."""


class Refused(msgspec.Struct, frozen=True):
    """Certainly not stored: no group will see it."""

    reason: str
    transient: bool = False
    """Whether the same message may be taken later: the broker was away, throttled or full."""


class Unknown(msgspec.Struct, frozen=True):
    """May be stored: timed out, cut, or cancelled after sending."""

    cause: str


SendResult: TypeAlias = Confirmed | Refused | Unknown


class Ack(msgspec.Struct, frozen=True):
    """Handled: never again for this group."""


class Defer(msgspec.Struct, frozen=True):
    """Failed, or not its turn: again after `after` seconds. The next delivery's attempt is `attempts + 1`."""

    after: float
    attempts: int
    """Handlings so far, all of them failed. The core counts; whoever brings the message back must know the number."""
    first_failure: datetime | None
    """`None`: none has failed."""
    relaxed: bool = False
    """Later messages of its key need not wait for it: it comes back out of order."""


class Release(msgspec.Struct, frozen=True):
    """Given back, at no cost in attempts: again as soon as this group's members can."""

    attempts: int | None = None
    """Handlings so far, where the message was tried again in place: the next delivery's attempt is one more."""


class DeadLetter(msgspec.Struct, frozen=True):
    """To the dead letters of its group, with the record that says why."""

    record: DeadLetterRecord


Settlement: TypeAlias = Ack | Defer | Release | DeadLetter
SettlementKind: TypeAlias = type[Ack] | type[Defer] | type[Release] | type[DeadLetter]

ACK = Ack()
RELEASE = Release()


class Settled(msgspec.Struct, frozen=True):
    """One delivery and what shall become of it."""

    delivery: Delivery[Any]
    settlement: Settlement


class Done(msgspec.Struct, frozen=True):
    """Handed to the broker, with no failure known (or it had been before). `Capabilities.acks_surely` says what that proves."""


class Lost(msgspec.Struct, frozen=True):
    """The delivery was no longer ours: the broker hands it, or has handed it, to somebody else."""


class Failed(msgspec.Struct, frozen=True):
    """The broker did not take the settlement; the delivery is still ours. Asking again may help."""

    cause: str


SettleResult: TypeAlias = Done | Lost | Failed

DONE = Done()
LOST = Lost()


class Extended(msgspec.Struct, frozen=True):
    """The lease now ends at `lease_until` on `time.monotonic()`."""

    lease_until: float


ExtendResult: TypeAlias = Extended | Lost | Failed
