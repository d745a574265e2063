"""A dead letter as people work on it: where it lies, why, and how far its review is.

`NEXT` is the rule of the review: from each state, those that may follow. A letter that comes back is unresolved again,
whatever it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from waybill.message import DeadLetterRecord

__all__ = [
    "CLAIMABLE", "NEXT", "OPEN", "OWNED", "Action", "Entry", "Group", "Groups", "Key", "Letter", "Letters", "Query", "Recorded",
    "State",
]  # fmt: skip


class State(StrEnum):
    """How far the review of a letter is."""

    UNRESOLVED = "unresolved"
    """Nobody has looked at it."""
    TRIAGED = "triaged"
    """Somebody owns it, or has said what it is about."""
    REDRIVING = "redriving"
    """An operation has claimed it, and no other can."""
    PENDING = "pending"
    """It was sent back to its group, which has not settled it yet."""
    RESOLVED = "resolved"
    """The group has handled it."""
    DISCARDED = "discarded"
    """Removed for good, with a reason."""
    ARCHIVED = "archived"
    """No longer among the broker's dead letters, and nobody here has said why: taken by another tool, or too old for it."""


OPEN = frozenset({State.UNRESOLVED, State.TRIAGED, State.REDRIVING, State.PENDING})
"""Somebody still has something to do about these."""

CLAIMABLE = frozenset({State.UNRESOLVED, State.TRIAGED})
"""No operation has these, and one may claim them."""
OWNED = frozenset({State.REDRIVING, State.PENDING})
"""An operation has these in its hands."""

NEXT: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.UNRESOLVED: frozenset(
            {State.UNRESOLVED, State.TRIAGED, State.REDRIVING, State.DISCARDED, State.ARCHIVED}
        ),
        State.TRIAGED: frozenset(
            {State.UNRESOLVED, State.TRIAGED, State.REDRIVING, State.DISCARDED, State.ARCHIVED, State.RESOLVED}
        ),
        State.REDRIVING: frozenset(
            {State.PENDING, State.UNRESOLVED, State.TRIAGED, State.RESOLVED, State.DISCARDED, State.ARCHIVED}
        ),
        State.PENDING: frozenset({State.RESOLVED, State.UNRESOLVED, State.ARCHIVED}),
        State.RESOLVED: frozenset({State.UNRESOLVED}),
        State.DISCARDED: frozenset({State.UNRESOLVED}),
        State.ARCHIVED: frozenset({State.UNRESOLVED, State.RESOLVED, State.DISCARDED}),
    }
)
"""From each state, those that may follow."""


class Key(NamedTuple):
    """Which letter: it stays the same when it comes back."""

    topic: str
    group: str
    id: str
    """The message's."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One message among the dead letters of one group. `Index.message` has its body and headers."""

    number: int
    """Its place in the order of time, by its (last) dead-lettering. Unique in the index; another one when it comes back."""
    key: Key
    state: State
    type: str
    fingerprint: str
    """The same for letters that failed alike, also where the record has none."""
    message_key: str | None = None
    """The message's own key, whose letters have an order."""
    record: DeadLetterRecord
    """Of its last dead-lettering."""
    redrives: int = 0
    expires: datetime | None = None
    visits: int = 1
    """How many times it was dead-lettered, as far as the index has seen."""
    came_back: bool = False
    """After a redrive, and with the same fingerprint as before."""
    owner: str = ""
    ticket: str = ""
    note: str = ""
    """The cause, as people have found it. Why it was discarded is in the audit."""
    operation: str = ""
    """The redrive that has claimed it, or sent it back last."""
    changed: datetime
    """When its state became what it is."""
    gone: datetime | None = None
    """When the broker was found not to have it any more. `None`: it was there at the last look."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters. What is left out is any."""

    topic: str | None = None
    group: str | None = None
    states: frozenset[State] = OPEN
    """Empty: any."""
    reason: str | None = None
    disposition: str | None = None
    fingerprint: str | None = None
    """Or its beginning."""
    type: str | None = None
    owner: str | None = None
    """`""`: nobody's."""
    ids: tuple[str, ...] = ()
    """Whole ids or their beginnings, any of them. One that is a whole id is that one's."""
    since: datetime | None = None
    """Dead-lettered then or later …"""
    before: datetime | None = None
    """… and before."""
    operation: str | None = None
    text: str = ""
    """Words, all of which are in its id, key, error, detail, frame, headers or the beginning of its body. A word that ends
    with `*` is the beginning of one."""


class Letters(msgspec.Struct, frozen=True):
    """A page. `after` opens the next one; `None`: there is none. A page may be short, and even empty, before the last one."""

    letters: Sequence[Letter]
    after: str | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Letters of one consumer group that failed alike: of one fingerprint, type, reason and disposition."""

    topic: str
    group: str
    fingerprint: str
    type: str
    reason: str
    disposition: str
    error: str | None
    """Of the newest, like `frame` and `detail`."""
    frame: str
    detail: str
    counts: Mapping[State, int]
    oldest: datetime | None
    """When the oldest that is open was dead-lettered, to the millisecond; `None`: none is open."""
    newest: datetime
    """The same of the newest, in whatever state."""
    owners: tuple[str, ...] = ()
    """Of those that are open."""

    @property
    def open(self) -> int:
        return sum(count for state, count in self.counts.items() if state in OPEN)


class Groups(msgspec.Struct, frozen=True):
    """A page of groups, those with the most open letters first."""

    groups: Sequence[Group]
    after: str | None = None


class Recorded(msgspec.Struct, frozen=True):
    """What a look at dead letters has brought."""

    new: int = 0
    back: int = 0
    """Dead-lettered once more: unresolved again."""
    known: int = 0
    gone: int = 0
    """Those that are not there any more."""

    def __add__(self, other: Recorded) -> Recorded:
        return Recorded(self.new + other.new, self.back + other.back, self.known + other.known, self.gone + other.gone)


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Who does something, and why: for the audit."""

    by: str
    why: str = ""
    operation: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit. It is never changed."""

    number: int
    at: datetime
    by: str
    verb: str
    """`collect`, `triage`, `redrive`, `discard`, `edit`, `import`, `move` (by the broker itself) …"""
    why: str = ""
    operation: str = ""
    topic: str = ""
    group: str = ""
    id: str = ""
    """The message's; `""` where it is about more than one."""
    before: str = ""
    """The state before …"""
    after: str = ""
    """… and after."""
    count: int = 1
    """Letters that it is about."""
