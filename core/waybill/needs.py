"""What an application asks of its broker: read from its code, and from what is said of its load. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from waybill.abilities import size
from waybill.registration import Registration
from waybill.retry import duration
from waybill.topology import Subscription, TopicSpec, Topology

__all__ = ["Asked", "Load", "Need", "asked"]


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What no code tells. `None`: nobody said."""

    rate: float | None = None
    """Messages a second, published to each topic."""
    size: int | None = None
    """Bytes of a usual message."""
    largest: int | None = None
    """Bytes of the largest."""
    delay: float | None = None
    """The longest delay of a publish, in seconds."""
    machines: int | None = None
    """On how many the application and its publishers run."""


class Need(msgspec.Struct, frozen=True):
    """One ability that is asked for (`waybill.abilities`), and by what."""

    ability: str
    by: str
    topics: tuple[TopicSpec, ...]


class Asked(msgspec.Struct, frozen=True):
    """All of it."""

    application: str
    topology: Topology
    registrations: Sequence[Registration]
    load: Load

    @property
    def subscriptions(self) -> dict[str, Subscription]:
        """By name; those that are consumed here rather than those of the contracts."""
        found = {subscription.name: subscription for subscription in self.topology.subscriptions}
        return found | {one.subscription.name: one.subscription for one in self.registrations}

    def groups(self, topic: TopicSpec) -> list[str]:
        return sorted(one.group for one in self.subscriptions.values() if one.topic.name == topic.name)


def asked(app: Asked) -> list[Need]:
    """Each ability that is needed, once, in the order of their weight."""
    needs: dict[str, list[tuple[str, TopicSpec]]] = {}
    for ability, by, topic in (*_always(app), *_order(app), *_groups(app), *_topics(app), *_said(app)):
        needs.setdefault(ability, []).append((by, topic))
    return [
        Need(
            ability,
            "; ".join(dict.fromkeys(by for by, _ in several)),
            tuple(dict.fromkeys(topic for _, topic in several)),
        )
        for ability, several in needs.items()
    ]


Found = Iterator[tuple[str, str, TopicSpec]]


def _always(app: Asked) -> Found:
    topics = app.topology.topics
    for topic in topics:
        yield "storing before confirming", "a publish returns when it is stored", topic
    for registration in app.registrations:
        subscription, retry = registration.subscription, registration.options.retry
        waits = retry.timeline()
        if waits:
            how = f"{retry.attempts} attempts, up to {duration(max(waits))} apart"
            yield "waiting for a retry", f"{subscription.name}: {how}", subscription.topic
        yield "dead letters", "what fails for good is kept with its reason", subscription.topic
        yield "acknowledging", "what was handled is not to be handled again", subscription.topic
        yield "a message that kills its process", "one bad message is not to stop a group", subscription.topic


def _order(app: Asked) -> Found:
    for registration in app.registrations:
        subscription, options = registration.subscription, registration.options
        if not subscription.ordered:
            continue
        name, topic = subscription.name, subscription.topic
        yield "order by key", f"{name} is consumed in order", topic
        if options.relaxed:
            yield "a key that goes on without its failed message", f"{name} asks for on_failure='relax'", topic
        else:
            yield (
                "a key that waits for its failed message",
                f"{name} asks for on_failure='{options.on_failure or 'block-key'}'",
                topic,
            )


def _groups(app: Asked) -> Found:
    for topic in app.topology.topics:
        if len(groups := app.groups(topic)) > 1:
            yield "several groups", f"{topic.name} goes to {_listed(groups)}", topic
    for subscription in app.subscriptions.values():
        name, topic = subscription.name, subscription.topic
        if subscription.start == "earliest":
            yield "history", f"{name} starts with the earliest", topic
        if subscription.ephemeral:
            yield "ephemeral groups", f"{name} comes and goes with its process", topic
        if topic.pattern:
            yield "topics by pattern", f"{name} gets every topic that fits", topic
        if subscription.where:
            yield "header filters", f"{name} wants only some", topic


def _topics(app: Asked) -> Found:
    for topic in app.topology.topics:
        if topic.retention is not None:
            yield "history", f"{topic.name} keeps {duration(topic.retention)}", topic
        if topic.dedup_window is not None:
            yield "one message an id", f"{topic.name} within {duration(topic.dedup_window)}", topic
        if topic.max_length is not None:
            yield "a limited length", f"{topic.name} at {topic.max_length} messages", topic


def _said(app: Asked) -> Found:
    load = app.load
    for topic in app.topology.topics:
        if load.machines != 1:
            by = "nobody said on how many it runs" if load.machines is None else f"it runs on {load.machines}"
            yield "members on several machines", by, topic
        if load.delay:
            yield "delayed publishing", f"by up to {duration(load.delay)}", topic
        if largest := load.largest or load.size:
            yield "large messages", f"up to {size(largest)}", topic


def _listed(words: Sequence[str]) -> str:
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} and {last}" if most else last
