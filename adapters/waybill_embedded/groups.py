"""Topics and groups as rows: how they come, what is said about them, and how they go."""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from waybill.topology import Subscription, TopicSpec, matches
from waybill_embedded.claims import forget_old

__all__ = [
    "UNDECIDED",
    "Topic",
    "condition",
    "create_group",
    "create_pattern",
    "create_topic",
    "decide",
    "encode_filter",
    "find",
    "groups_of_pattern",
    "pattern_id",
    "read_topic",
    "remove_group",
    "remove_pattern",
    "write_filter",
    "write_topic",
]

UNDECIDED = "null"
"""The filter of a group that a contract names and nobody has consumed: it is what its first consumer says."""


class Topic(NamedTuple):
    """A topic's row: what it promises. Durations are seconds."""

    id: int
    retention: float | None
    max_length: int | None
    dedup_window: float | None


def find(connection: sqlite3.Connection, topic: str, group: str | None) -> tuple[int, int | None] | None:
    """The numbers of a topic and a group, or `None` if one of them does not exist."""
    row = connection.execute(
        "SELECT t.id, g.id FROM topics t LEFT JOIN groups g ON g.topic = t.id AND g.name = ? WHERE t.name = ?",
        (group, topic),
    ).fetchone()
    if row is None or (group is not None and row[1] is None):
        return None
    return row[0], row[1]


def read_topic(connection: sqlite3.Connection, name: str) -> Topic | None:
    row = connection.execute(
        "SELECT id, retention, max_length, dedup_window FROM topics WHERE name = ?", (name,)
    ).fetchone()
    return None if row is None else Topic(*row)


def create_topic(connection: sqlite3.Connection, spec: TopicSpec) -> None:
    """Make the topic if there is none, and its share for every pattern that it fits."""
    made = connection.execute(
        "INSERT INTO topics (name, retention, max_length, dedup_window) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (spec.name, spec.retention, spec.max_length, spec.dedup_window),
    )
    if not made.rowcount:
        return
    for number, pattern, group, filtered, member in connection.execute(
        "SELECT id, pattern, name, filter, member FROM patterns"
    ).fetchall():
        if matches(pattern, spec.name):
            _insert_group(connection, spec.name, group, filtered, start=None, pattern=number, member=member)


def write_topic(connection: sqlite3.Connection, spec: TopicSpec, now: float) -> None:
    """Let an existing topic promise what the code declares. What it promised before and does no more is forgotten."""
    connection.execute(
        "UPDATE topics SET retention = ?, max_length = ?, dedup_window = ? WHERE name = ?",
        (spec.retention, spec.max_length, spec.dedup_window, spec.name),
    )
    _count_anew(connection, spec)
    (topic,) = connection.execute("SELECT id FROM topics WHERE name = ?", (spec.name,)).fetchone()
    if spec.retention is None:  # nobody looks any more for what its time is over
        connection.execute("UPDATE messages SET kept_until = 0 WHERE topic = ? AND kept_until IS NOT NULL", (topic,))
        forget_old(connection, topic, now)
    if spec.dedup_window is None:
        connection.execute("DELETE FROM seen WHERE topic = ?", (topic,))


def _count_anew(connection: sqlite3.Connection, spec: TopicSpec) -> None:
    """What waits is counted only where the length is limited: from then on, by every publish and every settlement."""
    if spec.max_length is None:
        connection.execute(
            "UPDATE groups SET waiting = NULL WHERE topic = (SELECT id FROM topics WHERE name = ?)", (spec.name,)
        )
        return
    connection.execute(
        """UPDATE groups SET waiting = (SELECT count(*) FROM entries e WHERE e.grp = groups.id)
               + (SELECT count(*) FROM messages m WHERE m.topic = groups.topic AND m.seq > groups.cursor
                  AND (m.target IS NULL OR m.target = groups.id))
           WHERE topic = (SELECT id FROM topics WHERE name = ?) AND waiting IS NULL""",
        (spec.name,),
    )


def create_group(connection: sqlite3.Connection, subscription: Subscription, *, member: str | None = None) -> None:
    """Make the group if there is none. `member`: the doorbell of the process that it goes with."""
    start = "latest" if subscription.ephemeral else subscription.start
    name, filtered = subscription.topic.name, encode_filter(subscription)
    _insert_group(connection, name, subscription.group, filtered, start=start, member=member)
    if subscription.where:
        decide(connection, subscription)


def decide(connection: sqlite3.Connection, subscription: Subscription) -> None:
    """Its consumer has come, and says what a group wants of which only the name was known."""
    connection.execute(
        """UPDATE groups SET filter = ? WHERE name = ? AND topic = (SELECT id FROM topics WHERE name = ?) AND filter = ?""",
        (encode_filter(subscription), subscription.group, subscription.topic.name, UNDECIDED),
    )


def _insert_group(
    connection: sqlite3.Connection,
    topic: str,
    name: str,
    filtered: str | None,
    *,
    start: str | None,
    pattern: int | None = None,
    member: str | None = None,
) -> None:
    """A topic's first group starts with what was published before it, since nobody else keeps that; later ones with what
    comes, unless `start` says otherwise."""
    connection.execute(
        """INSERT INTO groups (topic, name, cursor, filter, pattern, member)
           SELECT t.id, :name,
                  CASE WHEN :start = 'earliest' THEN 0
                       WHEN :start IS NULL AND NOT EXISTS (SELECT 1 FROM groups g WHERE g.topic = t.id AND g.member IS NULL)
                       THEN 0
                       ELSE coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) END,
                  :filter, :pattern, :member
           FROM topics t WHERE t.name = :topic ON CONFLICT DO NOTHING""",
        {"topic": topic, "name": name, "start": start, "filter": filtered, "pattern": pattern, "member": member},
    )
    limited = connection.execute("SELECT max_length FROM topics WHERE name = ?", (topic,)).fetchone()
    if limited is not None and limited[0] is not None:
        _count_anew(connection, TopicSpec(topic, max_length=limited[0]))


def create_pattern(connection: sqlite3.Connection, subscription: Subscription, *, member: str | None = None) -> None:
    """Remember that this group wants every topic that fits, and give it a share of those that there are."""
    pattern, filtered = subscription.topic.name, encode_filter(subscription)
    connection.execute(
        "INSERT INTO patterns (pattern, name, filter, member) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (pattern, subscription.group, filtered, member),
    )
    number = pattern_id(connection, subscription)
    start = "latest" if subscription.ephemeral else subscription.start
    for (topic,) in connection.execute("SELECT name FROM topics ORDER BY id").fetchall():
        if matches(pattern, topic):
            _insert_group(connection, topic, subscription.group, filtered, start=start, pattern=number, member=member)


def pattern_id(connection: sqlite3.Connection, subscription: Subscription) -> int | None:
    row = connection.execute(
        "SELECT id FROM patterns WHERE pattern = ? AND name = ?", (subscription.topic.name, subscription.group)
    ).fetchone()
    return None if row is None else row[0]


def groups_of_pattern(connection: sqlite3.Connection, subscription: Subscription) -> list[str]:
    """The names of the topics that a group has a share of by this pattern, in the order they were created."""
    number = pattern_id(connection, subscription)
    return [
        topic
        for (topic,) in connection.execute(
            "SELECT t.name FROM groups g JOIN topics t ON t.id = g.topic WHERE g.pattern = ? ORDER BY t.id", (number,)
        )
    ]


def remove_pattern(connection: sqlite3.Connection, subscription: Subscription, *, member: str) -> None:
    """An ephemeral group wants no topic any more, and has no share of any, also not of one that its member never opened."""
    number = pattern_id(connection, subscription)
    connection.execute("DELETE FROM patterns WHERE id = ?", (number,))
    for (group,) in connection.execute("SELECT id FROM groups WHERE pattern = ?", (number,)).fetchall():
        remove_group(connection, group, member=member)


def remove_group(connection: sqlite3.Connection, group: int, *, member: str) -> None:
    """Nothing is left of it: neither what it had not handled nor its dead letters.

    `member`: the process that it goes with. If that was taken for dead, its group is gone and the number may be another's.
    """
    row = connection.execute("SELECT topic, cursor FROM groups WHERE id = ? AND member = ?", (group, member)).fetchone()
    if row is None:
        return
    topic, cursor = row
    held = [seq for (seq,) in connection.execute("SELECT seq FROM entries WHERE grp = ?", (group,))]
    connection.execute("DELETE FROM entries WHERE grp = ?", (group,))
    connection.execute("DELETE FROM dead WHERE grp = ?", (group,))
    connection.execute("DELETE FROM messages WHERE topic = ? AND target = ?", (topic, group))
    connection.execute("DELETE FROM groups WHERE id = ?", (group,))
    (least,) = connection.execute("SELECT min(cursor) FROM groups WHERE topic = ?", (topic,)).fetchone()
    connection.execute(  # what only this group still needed: the others are all beyond it, and do not hold it either
        """DELETE FROM messages WHERE topic = :topic AND kept_until IS NULL AND target IS NULL
           AND (seq > :cursor OR seq IN (SELECT value FROM json_each(:held))) AND (:least IS NULL OR seq <= :least)
           AND NOT EXISTS (SELECT 1 FROM groups g JOIN entries e ON e.grp = g.id
                           WHERE g.topic = :topic AND e.seq = messages.seq)""",
        {"topic": topic, "cursor": cursor, "held": json.dumps(held), "least": least},
    )


def encode_filter(subscription: Subscription) -> str | None:
    if subscription.where:
        return json.dumps(subscription.where)
    return UNDECIDED if subscription.by_contract else None


def write_filter(connection: sqlite3.Connection, subscription: Subscription) -> None:
    """Let an existing group take what the code says from now on."""
    filtered = encode_filter(subscription)
    if subscription.topic.pattern:
        number = pattern_id(connection, subscription)
        connection.execute("UPDATE patterns SET filter = ? WHERE id = ?", (filtered, number))
        connection.execute("UPDATE groups SET filter = ? WHERE pattern = ?", (filtered, number))
        return
    connection.execute(
        "UPDATE groups SET filter = ? WHERE name = ? AND topic = (SELECT id FROM topics WHERE name = ?)",
        (filtered, subscription.group, subscription.topic.name),
    )


def condition(filtered: str | None) -> tuple[str, dict[str, object]]:
    """A filter as SQL over a row of `messages`, and its values. What cannot be read passes: it shall end as a dead letter."""
    if filtered is None or filtered == UNDECIDED:
        return "", {}
    parts: list[str] = []
    values: dict[str, object] = {}
    for number, (name, wanted) in enumerate(json.loads(filtered)):
        parts.append(
            f"EXISTS (SELECT 1 FROM json_each(messages.message, '$.headers') h WHERE h.key = :name{number} "
            f"AND h.value IN (SELECT value FROM json_each(:values{number})))"
        )
        values |= {f"name{number}": name, f"values{number}": json.dumps(wanted)}
    return f"AND CASE WHEN json_valid(messages.message) THEN {' AND '.join(parts)} ELSE 1 END", values
