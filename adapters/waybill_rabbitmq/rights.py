"""The least that a user may do for what an application does, and what is missing of it.

To look whether a queue or an exchange is there takes nothing before RabbitMQ 4.3, and since then any right to its name: each
role has one to all that it looks at. RabbitMQ's patterns are regular expressions that fit anywhere, so ours have both ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from waybill.findings import Finding
from waybill.foreign import NotPermitted
from waybill.topology import Subscription, TopicSpec, Topology
from waybill_rabbitmq import names
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.shapes import look

__all__ = ["Rights", "consuming", "making", "missing", "operating", "publishing"]

NOBODY = "^$"
DELAYS = rf"{names.LADDER}/\d\d"


class Rights(msgspec.Struct, frozen=True):
    """Regular expressions of names, as `rabbitmqctl set_permissions` takes them."""

    configure: frozenset[str] = frozenset()
    write: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()

    def __or__(self, other: Rights) -> Rights:
        return Rights(self.configure | other.configure, self.write | other.write, self.read | other.read)

    @property
    def patterns(self) -> tuple[str, str, str]:
        return _pattern(self.configure), _pattern(self.write), _pattern(self.read)


def publishing(topic: TopicSpec) -> Rights:
    """Of who publishes to it; the ladder is for delays."""
    return Rights(write=frozenset({re.escape(names.exchange(topic)), DELAYS}))


def consuming(subscription: Subscription) -> Rights:
    """Of who handles its messages; the ladder is for retries."""
    if subscription.ephemeral:
        return _passing(subscription)
    inbox, dead = _both(subscription)
    if not subscription.ordered:
        return Rights(write=frozenset({inbox, dead, DELAYS}), read=frozenset({rf"{inbox}(/\d+)?"}))
    made = frozenset({f"{inbox}/turn", f"{inbox}/members"})  # see `Earlier` and `Spread`
    return Rights(made, write=frozenset({inbox, dead, DELAYS}), read=frozenset({rf"{inbox}(/(\d+|members))?"}))


def _passing(subscription: Subscription) -> Rights:
    """Of who makes the group as well, under a name that begins as the subscription's does."""
    inbox, _ = _both(subscription)
    own = rf"{inbox}\.[^/]+(/.*)?"
    shared = re.escape(names.exchange(subscription.topic)), names.RETURN
    return Rights(frozenset({own}), write=frozenset({own, DELAYS}), read=frozenset({own, *shared}))


def operating(subscription: Subscription) -> Rights:
    """Of who looks at its dead letters, has them handled again or discards them, and sees what waits before it."""
    inbox, dead = _both(subscription)
    return Rights(write=frozenset({rf"{inbox}(/\d+)?"}), read=frozenset({dead}))


def making(topics: Iterable[TopicSpec]) -> Rights:
    """Of who makes these topics, their groups, and what delays and retries wait in."""
    own = frozenset({f"{re.escape(names.exchange(topic))}(/.*)?" for topic in topics} | {f"{names.OWN}/.*"})
    return Rights(own, own, own)


def _both(subscription: Subscription) -> tuple[str, str]:
    where = subscription.topic, subscription.group
    return re.escape(names.inbox(*where)), re.escape(names.dead(*where))


def _pattern(expressions: Iterable[str]) -> str:
    return f"^({'|'.join(sorted(expressions))})$" if expressions else NOBODY


# ---------------------------------------------------------------- asking


async def missing(hand: Hand, topology: Topology, *, vhost: str, username: str) -> Sequence[Finding]:
    """What this user may not do of publishing to these topics and consuming these groups."""
    needed = Rights()
    findings: list[Finding] = []
    for topic in topology.topics:
        needed |= publishing(topic)
        lacking = await _writes(hand, names.exchange(topic), names.step(0))
        findings.append(Finding(f"publish to {topic.name}", *_said(lacking)))
    for subscription in topology.subscriptions:
        needed |= consuming(subscription)
        where = subscription.topic, subscription.group
        lacking = await _writes(hand, names.inbox(*where), names.dead(*where), names.step(0))
        lacking += await _reads(hand, subscription)
        if subscription.ordered:
            lacking += await _configures(hand, names.turn(subscription), names.members(subscription))
        findings.append(Finding(f"consume {subscription.name}", *_said(lacking)))
    patterns = " ".join(f"'{pattern}'" for pattern in needed.patterns)
    fix = f"rabbitmqctl set_permissions -p {vhost} {username} {patterns}, or more"
    return [msgspec.structs.replace(found, fix=fix) if found.trouble else found for found in findings]


async def _writes(hand: Hand, *exchanges: str) -> list[str]:
    return [f"write {name}" for name in exchanges if not await hand.may_write(name)]


async def _configures(hand: Hand, *queues: str) -> list[str]:
    return [f"configure {name}" for name in queues if not await hand.may_configure(name)]


async def _reads(hand: Hand, subscription: Subscription) -> list[str]:
    try:
        shape = await look(hand, subscription)
    except NotPermitted:
        return [f"read {names.inbox(subscription.topic, subscription.group)}"]
    queues = [] if shape is None else shape.queues(subscription)
    return [f"read {queue}" for queue in queues if not await hand.may_read(queue)]


def _said(lacking: Sequence[str]) -> tuple[str, str | None]:
    return ("", f"this user may not {', '.join(lacking)}") if lacking else ("allowed", None)
