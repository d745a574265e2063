"""What has to exist on a broker, as data, and what is found there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Literal, TypeVar

import msgspec

__all__ = [
    "Backlog",
    "BrokerOptions",
    "Change",
    "Count",
    "Destination",
    "Exactness",
    "PartBacklog",
    "Plan",
    "Subscription",
    "TopicSpec",
    "Topology",
    "fits",
    "matches",
]


class BrokerOptions:
    """What only one broker knows about a topic: each adapter has a frozen dataclass of its own, derived from this.

    Given by `Topic.on`. An adapter takes the objects of its own class and leaves the rest.
    """


Own = TypeVar("Own", bound=BrokerOptions)


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic as an adapter sees it: whoever opens a way in or out must know what kind of thing lies behind the name.

    Durations are seconds.
    """

    name: str
    pattern: bool = False
    """The name is a pattern (`matches`) and stands for every topic that fits, also one that is created later."""
    ordered: bool = False
    """Its messages have a key that orders them."""
    retention: float | None = None
    """How long messages are kept at least, from when they were published, for groups that start with the earliest."""
    max_length: int | None = None
    """When one of its groups has so many messages to handle, more are refused."""
    dedup_window: float | None = None
    """How long a second message with the same id is confirmed without being stored."""
    accept_unrouted: bool = False
    """Whether a message that no group would get is confirmed all the same, instead of refused."""
    broker: str | None = None
    """The name of the broker it lies on, where an application has several; `None`: the default one."""
    options: tuple[BrokerOptions, ...] = ()

    def option(self, default: Own) -> Own:
        """What it was given of the class of `default`, or that."""
        return next((option for option in self.options if isinstance(option, type(default))), default)


def matches(pattern: str, name: str) -> bool:
    """Whether the topic `name` fits: `*` stands for one word between dots, `#` for any number of them."""
    return _matches(pattern.split("."), name.split("."))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and pattern[0] in {"*", words[0]} and _matches(pattern[1:], words[1:])


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
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Headers and the values they may have; the group gets only what fits all of them. Sorted."""
    start: Literal["earliest", "latest"] | None = None
    """What a new group begins with: all that the topic still keeps, or what comes. `None`: a topic's first group begins
    with what is there, later ones with what comes."""
    ephemeral: bool = False
    """It comes with its consumer and goes with it, and leaves nothing behind. It is nowhere declared but by `source`."""
    by_contract: bool = False
    """Named by its topic's contract only: it has to be there, and how it is consumed is for its consumer to say."""
    lease: float = 30.0
    """Seconds a member may hold a message between two heartbeats. A broker without leases uses it for what comes
    nearest: a session timeout, a visibility timeout."""

    @property
    def name(self) -> str:
        """`topic/group`, for people."""
        return f"{self.topic.name}/{self.group}"


def fits(where: Iterable[tuple[str, Sequence[str]]], headers: Mapping[str, str]) -> bool:
    """Whether a message with these headers is for a subscription with this filter."""
    return all(headers.get(name) in values for name, values in where)


class Topology(msgspec.Struct, frozen=True):
    """Everything an application needs to exist: its topics, and the groups that share them."""

    topics: Sequence[TopicSpec]
    subscriptions: Sequence[Subscription]


class Change(msgspec.Struct, frozen=True):
    """One difference between what should be and what is."""

    action: Literal["create", "alter", "differs"]
    """`apply` creates what is missing and alters what costs nobody anything; what `differs` otherwise (less would be kept,
    messages would be left out) it changes only when told to by name."""
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
    AT_LEAST = "at least"
    """There may be more: the broker leaves out what somebody holds."""
    UNKNOWN = "unknown"


class Count(msgspec.Struct, frozen=True):
    """A figure and how far it can be trusted. `value` is `None` where there is none, or the broker cannot say."""

    value: float | None
    exactness: Exactness = Exactness.EXACT


class PartBacklog(msgspec.Struct, frozen=True, kw_only=True):
    """What lies before one group in one partition."""

    partition: str
    ready: Count
    handled: Count


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
    handled: Count = Count(None)
    """Done with, and behind a message that is not; so the broker holds them for unhandled. Not among `ready`."""
    parts: Sequence[PartBacklog] = ()
    """The same by partition, where a partition is one member's."""
