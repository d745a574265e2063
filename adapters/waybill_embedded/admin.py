"""What exists in the file, what is missing, and what lies before each group."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence

import msgspec

from waybill.adapter import Page
from waybill.clock import Clock
from waybill.retry import duration
from waybill.topology import Backlog, Change, Count, Exactness, Plan, Subscription, TopicSpec, Topology
from waybill_embedded import rows
from waybill_embedded.claims import LATER, LEASED, PARKED, READY
from waybill_embedded.engine import Engine
from waybill_embedded.file import mapped
from waybill_embedded.groups import (
    UNDECIDED,
    condition,
    create_group,
    create_pattern,
    create_topic,
    encode_filter,
    find,
    groups_of_pattern,
    pattern_id,
    read_topic,
    write_filter,
    write_topic,
)

__all__ = ["FileAdmin", "share"]

NOTHING = Count(None, Exactness.UNKNOWN)


class FileAdmin:
    """Declares topics and groups, counts, and shows dead letters."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def plan(self, topology: Topology) -> Plan:
        with mapped(self._engine.location):
            return self._plan(topology)

    def _plan(self, topology: Topology) -> Plan:
        connection = self._engine.reader
        changes: list[Change] = []
        for topic in sorted(topology.topics, key=lambda topic: topic.name):
            changes += topic_changes(connection, topic)
        for subscription in topology.subscriptions:
            changes += group_changes(connection, subscription)
        return Plan(topology, tuple(changes))

    async def apply(self, plan: Plan, *, allow: Collection[str] = ()) -> None:
        wanted = {
            change.what: change.action for change in plan.changes if change.action != "differs" or change.what in allow
        }

        def work(connection: sqlite3.Connection) -> None:
            subscriptions = plan.topology.subscriptions
            for topic in (*plan.topology.topics, *(s.topic for s in subscriptions if not s.topic.pattern)):
                create_topic(connection, topic)
                if wanted.get(f"topic {topic.name}", "create") != "create":
                    write_topic(connection, topic, self._clock.time())
            for subscription in subscriptions:
                (create_pattern if subscription.topic.pattern else create_group)(connection, subscription)
                if wanted.get(f"group {subscription.name}", "create") != "create":
                    write_filter(connection, subscription)

        if wanted:
            await self._engine.write(work, durable=True)

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        if not subscription.topic.pattern:
            return [subscription]
        with mapped(self._engine.location):
            names = groups_of_pattern(self._engine.reader, subscription)
        return [share(subscription, name) for name in names]

    async def backlog(self, subscription: Subscription) -> Backlog:
        with mapped(self._engine.location):
            return self._backlog(subscription)

    def _backlog(self, subscription: Subscription) -> Backlog:
        place = find(self._engine.reader, subscription.topic.name, subscription.group)
        if place is None:
            return Backlog(
                subscription=subscription,
                ready=NOTHING,
                in_flight=NOTHING,
                delayed=NOTHING,
                dead=NOTHING,
                oldest=NOTHING,
                next_due=NOTHING,
            )
        topic, group = place
        now = self._clock.time()
        row = self._engine.reader.execute("SELECT filter FROM groups WHERE id = ?", (group,)).fetchone()
        only, filtered = condition(row[0])
        values = {
            **filtered,
            "topic": topic, "grp": group, "now": now,
            "READY": READY, "LEASED": LEASED, "PARKED": PARKED, "LATER": LATER,
        }  # fmt: skip
        row = self._engine.reader.execute(_BACKLOG.format(only=only), values).fetchone()
        new, new_delayed, new_due, waiting, leased, later, later_due, dead, first = row
        due = min((moment for moment in (new_due, later_due) if moment is not None), default=None)
        oldest = None
        if first is not None:
            columns = self._engine.reader.execute("SELECT message FROM messages WHERE seq = ?", (first,)).fetchone()
            if columns is not None:
                message = rows.read_any(columns[0], None, number=first, topic=subscription.topic.name)
                oldest = max(0.0, now - message.time.timestamp())
        return Backlog(
            subscription=subscription,
            ready=Count(new + waiting),
            in_flight=Count(leased),
            delayed=Count(new_delayed + later),
            dead=Count(dead),
            oldest=Count(oldest),
            next_due=Count(None if due is None else max(0.0, due - now)),
        )

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        with mapped(self._engine.location):
            return self._browse(subscription, int(after or 0), limit)

    def _browse(self, subscription: Subscription, after: int, limit: int) -> Page:
        place = find(self._engine.reader, subscription.topic.name, subscription.group)
        if place is None:
            return Page(())
        found = self._engine.reader.execute(
            "SELECT id, message, body FROM dead WHERE grp = ? AND id > ? ORDER BY id LIMIT ?",
            (place[1], after, limit),
        ).fetchall()
        topic = subscription.topic.name
        messages = [rows.read_any(*row[1:], number=row[0], topic=topic) for row in found]
        return Page(messages, str(found[-1][0]) if len(found) == limit else None)


_BACKLOG = """
    WITH new AS (SELECT seq, due FROM messages WHERE topic = :topic AND seq > (SELECT cursor FROM groups WHERE id = :grp)
                 AND (target = :grp OR (target IS NULL {only}))),
         old AS (SELECT seq, state, due, key FROM entries WHERE grp = :grp),
         held_up AS (SELECT seq FROM old WHERE state = :PARKED AND key IN (
                     SELECT key FROM old WHERE state = :READY AND due > :now AND key IS NOT NULL))
    SELECT (SELECT count(*) FROM new WHERE due IS NULL OR due <= :now), (SELECT count(*) FROM new WHERE due > :now),
           (SELECT min(due) FROM new WHERE due > :now),
           (SELECT count(*) FROM old WHERE (state = :PARKED OR (state IN (:READY, :LATER) AND due <= :now)))
               - (SELECT count(*) FROM held_up),
           (SELECT count(*) FROM old WHERE state = :LEASED),
           (SELECT count(*) FROM old WHERE state IN (:READY, :LATER) AND due > :now) + (SELECT count(*) FROM held_up),
           (SELECT min(due) FROM old WHERE state IN (:READY, :LATER) AND due > :now),
           (SELECT count(*) FROM dead WHERE grp = :grp),
           coalesce((SELECT min(seq) FROM old WHERE seq NOT IN held_up AND NOT (state IN (:READY, :LATER) AND due > :now)),
                    (SELECT min(seq) FROM new WHERE due IS NULL OR due <= :now))"""
"""What is parked behind a retry that is not due waits for it, so it counts as delayed."""


def topic_changes(connection: sqlite3.Connection, spec: TopicSpec) -> Iterator[Change]:
    """What `spec` asks and the file's topic does not promise. To keep, count or remember more costs nobody anything."""
    what, there = f"topic {spec.name}", read_topic(connection, spec.name)
    if there is None:
        yield Change("create", what)
        return
    details: list[str] = []
    smaller = False
    for name, wanted, given in (
        ("retention", spec.retention, there.retention),
        ("dedup_window", spec.dedup_window, there.dedup_window),
        ("max_length", spec.max_length, there.max_length),
    ):
        if wanted != given:
            details.append(f"{name}: {_shown(name, given)} there, {_shown(name, wanted)} in the code")
            none = float("inf") if name == "max_length" else 0.0
            smaller |= (none if wanted is None else wanted) < (none if given is None else given)
    if details:
        yield Change("differs" if smaller else "alter", what, "; ".join(details))


def group_changes(connection: sqlite3.Connection, subscription: Subscription) -> Iterator[Change]:
    what = f"group {subscription.name}"
    if subscription.topic.pattern:
        found = pattern_id(connection, subscription)
        row = connection.execute("SELECT filter FROM patterns WHERE id = ?", (found,)).fetchone()
    else:
        place = find(connection, subscription.topic.name, subscription.group)
        row = place and connection.execute("SELECT filter FROM groups WHERE id = ?", (place[1],)).fetchone()
    if row is None or (row[0] == UNDECIDED and subscription.where):
        yield Change("create", what)
    elif not subscription.by_contract and row[0] not in {encode_filter(subscription), UNDECIDED}:
        wanted = encode_filter(subscription)
        yield Change("differs", what, f"where: {row[0] or 'everything'} there, {wanted or 'everything'} in the code")


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if name == "max_length" else duration(value)


def share(subscription: Subscription, topic: str) -> Subscription:
    """The share of one topic that a subscription to a pattern has."""
    return msgspec.structs.replace(
        subscription, topic=TopicSpec(topic, ordered=subscription.topic.ordered, broker=subscription.topic.broker)
    )
