"""One operation on a group's dead letters: what it is to do, how far it is, and what it may become next. Pure.

    an operation    claiming → canary → running → pending → done
                    any of the first three → aborted | cancelled
    a letter in it  claimed → sending → sent → pending → resolved | came_back
                    claimed → left | gone | freed | discarded        sending, sent → left

Both move forward only (what is being sent may be sent again), whoever asks and however often: what was cut short is gone on with where it was. A letter that is
neither gone nor decided belongs to one operation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from waybill.dlq.model import Query
from waybill.errors import ConfigurationError
from waybill.moving import Then

__all__ = [
    "DISCARDING", "ENDED", "NEXT", "OPEN", "SENDING", "STEPS", "UNDECIDED", "WHEN_CUT_SHORT", "Operation", "Orders", "Progress", "State", "Step", "Verb",
    "may_become",
]  # fmt: skip

Verb: TypeAlias = Literal["redrive", "edit", "discard"]
State: TypeAlias = Literal["claiming", "canary", "running", "pending", "done", "aborted", "cancelled"]
Step: TypeAlias = Literal[
    "claimed", "sending", "sent", "pending", "resolved", "came_back", "left", "gone", "freed", "discarded"
]

NEXT: dict[State, frozenset[State]] = {
    "claiming": frozenset({"canary", "running", "cancelled"}),
    "canary": frozenset({"running", "pending", "aborted", "cancelled"}),
    "running": frozenset({"pending", "done", "aborted", "cancelled"}),
    "pending": frozenset({"done"}),
    "done": frozenset(),
    "aborted": frozenset(),
    "cancelled": frozenset(),
}
"""What an operation may become."""
ENDED: frozenset[State] = frozenset({"done", "aborted", "cancelled"})

STEPS: dict[Step, frozenset[Step]] = {
    "claimed": frozenset({"sending", "left", "gone", "freed", "discarded"}),
    "sending": frozenset({"sending", "sent", "pending", "left"}),
    "sent": frozenset({"pending", "left"}),
    "pending": frozenset({"resolved", "came_back"}),
    "resolved": frozenset(),
    "came_back": frozenset(),
    "left": frozenset(),
    "gone": frozenset(),
    "freed": frozenset(),
    "discarded": frozenset(),
}
"""What a letter may become. `sending`: a copy may be there. `sent`: it is confirmed. `pending`: and the letter is removed.
`left`: a dead letter still, since it was refused. `gone`: somebody else had removed it. `freed`: the operation has ended."""
OPEN: tuple[Step, ...] = ("claimed", "sending", "sent")
"""Something is to be done with the letter still."""
UNDECIDED: tuple[Step, ...] = (*OPEN, "pending")


SENDING: dict[Step, Then] = {
    "claimed": "send",
    "sending": "send",
    "sent": "remove",
    "pending": "remove",
    "resolved": "remove",
    "came_back": "remove",
}
DISCARDING: dict[Step, Then] = {"claimed": "remove", "discarded": "remove"}
"""What is to be done with a dead letter whose move is at that step; at any other it is left. With its copy sent on already, it is a
second letter of one id."""

WHEN_CUT_SHORT: dict[Step, tuple[Step, str]] = {
    "claimed": ("freed", ""),
    "sending": ("left", "a copy of it may have been sent"),
    "sent": ("left", "a copy of it was sent, and it was not removed"),
}
"""What becomes of the letters of an operation that is ended before its time."""


def may_become(now: State, then: State) -> bool:
    return then in NEXT[now]


class Orders(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an operation is to be carried out, and what it leaves where it lies."""

    limit: int | None = None
    """At most so many letters, the oldest."""
    expired: bool = False
    """Also those whose time is over: nobody would handle them."""
    force: bool = False
    """Also those at the redrive limit, and those whose body the topic's codec of today cannot read."""

    rate: float | None = None
    """Letters a second at most; `None`: as many as the broker takes."""
    canary: int = 0
    """So many are sent first, and the others when these are decided; 0: none."""
    patience: float = 60.0
    """Seconds that the canary is given; then the operation stands still until it is resumed."""
    abort_above: float = 0.2
    """Share of those sent that came back, for whatever reason, above which no more are sent."""
    ahead: int | None = None
    """No more are sent while so many messages lie before the group, e.g. since its circuit is open; and never more at once."""
    most_redrives: int = 3
    """What has come back from the dead letters so often is left, unless `force`."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"limit={self.limit}: at least 1; None for all")
        if self.ahead is not None and self.ahead < 1:
            raise ConfigurationError(f"ahead={self.ahead}: at least 1; None for any number")
        if self.canary < 0:
            raise ConfigurationError(f"canary={self.canary}: 0 for none, or how many go first")
        if not 0 < self.abort_above <= 1:
            raise ConfigurationError(f"abort_above={self.abort_above}: a share above 0, at most 1")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation, as it is kept."""

    id: str
    verb: Verb
    state: State
    topic: str
    group: str
    to: str = ""
    """Where the copies go: `topic/group`, or `topic` for all of its groups; `""`: to the group they failed in."""
    query: Query = Query()
    """Which letters it was to claim."""
    orders: Orders = Orders()
    by: str
    why: str = ""
    at: datetime
    changed: datetime
    note: str = ""
    """Why it was aborted or cancelled, or stands still."""
    stop: str = ""
    """Who has cancelled it, and why, also while whoever carries it out has not ended it yet."""

    @property
    def under_way(self) -> bool:
        """Whether some of its letters are still to be moved."""
        return self.state not in ENDED | {"pending"}

    @property
    def asked_to_end(self) -> bool:
        """It is cancelled, and goes on until whoever carries it out has seen that."""
        return bool(self.stop) and self.under_way

    @property
    def name(self) -> str:
        """`topic/group`, whose dead letters these are."""
        return f"{self.topic}/{self.group}"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of an operation's letters so far."""

    claimed: int = 0
    """Not touched yet."""
    sending: int = 0
    """A copy may be there, and the letter is."""
    sent: int = 0
    """The copy is there, and the letter may be."""
    pending: int = 0
    """The copy is there, the letter is removed, and nobody has settled the copy yet."""
    resolved: int = 0
    came_back: int = 0
    """Dead letters again, …"""
    alike: int = 0
    """… of them, those that failed as before."""
    left: int = 0
    gone: int = 0
    freed: int = 0
    discarded: int = 0
    repeated: int = 0
    """Sent once more since it was not known whether the first copy was there: at most so many came twice."""
    cause: str = ""
    """Why the first was left."""

    @property
    def total(self) -> int:
        return (
            self.open
            + self.pending
            + self.resolved
            + self.came_back
            + self.left
            + self.gone
            + self.freed
            + self.discarded
        )

    @property
    def open(self) -> int:
        """To be done still."""
        return self.claimed + self.sending + self.sent

    @property
    def moved(self) -> int:
        """Sent or removed so far."""
        return self.sent + self.pending + self.resolved + self.came_back + self.discarded
