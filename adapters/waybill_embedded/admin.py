"""What exists in the file, what is missing, and what lies before each group."""

from __future__ import annotations

import sqlite3

from waybill.adapter import Page
from waybill.clock import Clock
from waybill.topology import Backlog, Change, Count, Exactness, Plan, Subscription, Topology
from waybill_embedded import rows
from waybill_embedded.claims import LATER, LEASED, PARKED, READY
from waybill_embedded.engine import Engine
from waybill_embedded.file import mapped
from waybill_embedded.sink import find

__all__ = ["FileAdmin"]

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
        topics = {name for (name,) in connection.execute("SELECT name FROM topics")}
        changes = [
            Change("create", f"topic {name}") for name in sorted({topic.name for topic in topology.topics} - topics)
        ]
        changes += [
            Change("create", f"group {subscription.name}")
            for subscription in topology.subscriptions
            if find(connection, subscription.topic.name, subscription.group) is None
        ]
        return Plan(topology, tuple(changes))

    async def apply(self, plan: Plan) -> None:
        def work(connection: sqlite3.Connection) -> None:
            subscribed = [subscription.topic for subscription in plan.topology.subscriptions]
            for topic in (*plan.topology.topics, *subscribed):
                connection.execute("INSERT INTO topics (name) VALUES (?) ON CONFLICT DO NOTHING", (topic.name,))
            for subscription in plan.topology.subscriptions:
                connection.execute(_CREATE_GROUP, {"topic": subscription.topic.name, "name": subscription.group})

        if plan.changes:
            await self._engine.write(work, durable=True)

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
        values = {
            "topic": topic, "grp": group, "now": now,
            "READY": READY, "LEASED": LEASED, "PARKED": PARKED, "LATER": LATER,
        }  # fmt: skip
        row = self._engine.reader.execute(_BACKLOG, values).fetchone()
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


_CREATE_GROUP = """
    INSERT INTO groups (topic, name, cursor)
    SELECT t.id, :name, iif(EXISTS (SELECT 1 FROM groups g WHERE g.topic = t.id),
                            coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0), 0)
    FROM topics t WHERE t.name = :topic ON CONFLICT DO NOTHING"""
"""A topic's first group starts with what was published before it, since nobody else keeps that; later ones with what comes."""

_BACKLOG = """
    WITH new AS (SELECT seq, due FROM messages WHERE topic = :topic AND seq > (SELECT cursor FROM groups WHERE id = :grp)
                 AND (target IS NULL OR target = :grp)),
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
