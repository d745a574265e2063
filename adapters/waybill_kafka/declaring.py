"""What a topic and a group are made of, and how that differs from what is there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from waybill.retry import duration
from waybill.topology import Change, Subscription, TopicSpec
from waybill_kafka import names, rooms
from waybill_kafka.cluster import NewTopic
from waybill_kafka.layout import FOR_EVER
from waybill_kafka.options import BrokerTable, options_of
from waybill_kafka.producing import ENVELOPE

__all__ = ["Seen", "group_changes", "parts_of", "topic_changes", "topic_of"]

MORE_IS_SAFE = frozenset({"retention.ms", "retention.bytes", "max.message.bytes"})
"""Entries of which more costs nobody anything; -1 is the most."""
NAMES = {"retention.ms": "retention", "retention.bytes": "retention_bytes", "cleanup.policy": "compaction"}


class Seen(msgspec.Struct, frozen=True):
    """What is on the broker: partitions of topics, their configuration, and the groups that have offsets."""

    topics: Mapping[str, int]
    entries: Mapping[str, Mapping[str, tuple[str, bool]]]
    groups: Collection[str]


def wanted_partitions(spec: TopicSpec, table: BrokerTable) -> int:
    return options_of(spec).partitions or table.partitions


def topic_of(spec: TopicSpec, table: BrokerTable) -> NewTopic:
    options = options_of(spec)
    entries = {"max.message.bytes": str(table.max_message_size + ENVELOPE)} | options.entries(spec)
    return NewTopic(
        names.topic(spec),
        wanted_partitions(spec, table),
        options.replication or table.replication,
        topic_configs=entries,
    )


def parts_of(subscription: Subscription, alias: str, partitions: int, table: BrokerTable) -> list[NewTopic]:
    """A group's own topics, with as many partitions as its topic."""
    spec = subscription.topic
    options = options_of(spec)
    replication = options.replication or table.replication
    entries = FOR_EVER | {"max.message.bytes": str(table.max_message_size + 2 * ENVELOPE)}
    if options.min_insync_replicas is not None:
        entries = entries | {"min.insync.replicas": str(options.min_insync_replicas)}
    return [
        NewTopic(names.inbox(spec, alias), partitions, replication, topic_configs=entries),
        NewTopic(names.dead(spec, alias), partitions, replication, topic_configs=entries),
        NewTopic(names.later(spec, alias), rooms.PARTITIONS, replication, topic_configs=entries),
    ]


def topic_changes(spec: TopicSpec, seen: Seen) -> list[Change]:
    """What of a topic is missing or differs."""
    name = names.topic(spec)
    what = f"topic {name}"
    if name not in seen.topics:
        return [Change("create", what)]
    changes: list[Change] = []
    there, asked = seen.topics[name], options_of(spec).partitions
    if asked is not None and there != asked:
        why = "with more of them, most keys move to another one" if asked > there else "they are never taken away"
        changes.append(Change("differs", what, f"partitions: {there} there, {asked} in the code; {why}"))
    visible = seen.entries.get(name)
    for entry, value in options_of(spec).entries(spec).items():
        kept, _ = visible.get(entry, ("", False)) if visible is not None else (value, False)
        if kept != value:
            action: Literal["alter", "differs"] = "alter" if entry in MORE_IS_SAFE and _more(value, kept) else "differs"
            changes.append(
                Change(
                    action,
                    what,
                    f"{NAMES.get(entry, entry)}: {_told(entry, kept)} there, {_told(entry, value)} in the code",
                )
            )
    return changes


def group_changes(subscription: Subscription, alias: str, seen: Seen) -> list[Change]:
    spec = subscription.topic
    what = f"group {subscription.name}"
    parts = (names.inbox(spec, alias), names.dead(spec, alias), names.later(spec, alias))
    if names.group(spec, alias) not in seen.groups or any(part not in seen.topics for part in parts):
        return [Change("create", what)]
    return []


def _more(value: str, kept: str) -> bool:
    try:
        asked, there = int(value), int(kept)
    except ValueError:
        return False
    return there != -1 and (asked == -1 or asked > there)


def _told(entry: str, value: str) -> str:
    """For people."""
    try:
        return duration(int(value) / 1000) if entry == "retention.ms" and int(value) >= 0 else value or "nothing"
    except ValueError:
        return value
