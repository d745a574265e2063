"""What has to exist on a broker, as data, and what is found there."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Literal

import msgspec

__all__ = ["Backlog", "Change", "Count", "Destination", "Exactness", "Plan", "Subscription", "TopicSpec", "Topology"]


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic as an adapter sees it: whoever opens a way in or out must know what kind of thing lies behind the name."""

    name: str
    ordered: bool = False
    """Its messages have a key that orders them."""
    options: tuple[object, ...] = ()
    """What only one broker knows, as that adapter's own option objects; an adapter takes its own and leaves the rest."""


class Destination(msgspec.Struct, frozen=True):
    """A place messages can be sent to.

    `topic`: every group of the topic gets it. `group`: one group's own inbox; no other group sees it (a redrive).
    `retry`: one group's waiting room; it comes back to that group when it is `due`. `dead`: one group's dead letters.
    """

    kind: Literal["topic", "group", "retry", "dead"]
    topic: TopicSpec
    group: str | None = None

    def __post_init__(self) -> None:
        if (self.group is None) != (self.kind == "topic"):
            raise ValueError(f"a destination of kind {self.kind!r} {'needs no' if self.group else 'needs a'} group")

    @property
    def name(self) -> str:
        """For people."""
        return self.topic.name if self.group is None else f"{self.topic.name}/{self.group}"


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One group's share in one topic, and what it needs of the broker."""

    topic: TopicSpec
    group: str
    ordered: bool = False
    lease: float = 30.0
    """Seconds a member may hold a message between two heartbeats. A broker without leases uses it for what comes
    nearest: a session timeout, a visibility timeout."""

    @property
    def name(self) -> str:
        """`topic/group`, for people."""
        return f"{self.topic.name}/{self.group}"


class Topology(msgspec.Struct, frozen=True):
    """Everything an application needs to exist: its topics, and the groups that share them."""

    topics: Sequence[TopicSpec]
    subscriptions: Sequence[Subscription]


class Change(msgspec.Struct, frozen=True):
    """One difference between what should be and what is."""

    action: Literal["create", "differs"]
    """`apply` makes what is to be created; what differs is for people to decide, and `apply` leaves it."""
    what: str
    """The object, for people: `topic flights`, `group flights/projection`."""
    detail: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What `apply` would change. Empty: nothing is missing."""

    topology: Topology
    changes: Sequence[Change]


class Exactness(Enum):
    """How far a figure can be trusted."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    UNKNOWN = "unknown"


class Count(msgspec.Struct, frozen=True):
    """A figure and how far it can be trusted. `value` is `None` where there is none, or the broker cannot say."""

    value: float | None
    exactness: Exactness = Exactness.EXACT


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What lies before one group: each figure with its exactness."""

    subscription: Subscription
    ready: Count
    """Could be handed out now."""
    in_flight: Count
    """Handed out, not settled. Where the broker cannot tell them apart, delayed ones are among them."""
    delayed: Count
    """Waiting for its time: a retry or a delayed publish."""
    dead: Count
    """Among the dead letters."""
    oldest: Count
    """Age in seconds of the oldest message that is ready or in flight."""
    next_due: Count
    """Seconds until the first delayed message is due."""
