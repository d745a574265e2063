"""The tables, what exists in them, and what lies before each group."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from waybill.adapter import Page
from waybill.topology import Backlog, Change, Count, Exactness, Plan, Subscription, Topology
from waybill_postgres.link import Link
from waybill_postgres.rows import read

__all__ = ["TableAdmin"]

TABLES = """
    SELECT pg_advisory_xact_lock(hashtext('waybill'));
    CREATE SCHEMA IF NOT EXISTS {schema};
    CREATE TABLE IF NOT EXISTS {schema}.topics (name text PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS {schema}.groups (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        topic text NOT NULL REFERENCES {schema}.topics ON DELETE CASCADE,
        name text NOT NULL,
        UNIQUE (topic, name));
    CREATE TABLE IF NOT EXISTS {schema}.messages (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        grp int NOT NULL REFERENCES {schema}.groups ON DELETE CASCADE,
        key bytea,                              -- while it has a place in its key's line
        due timestamptz NOT NULL DEFAULT now(), -- may be taken from then on
        holder uuid,                            -- who has it until then
        handed int NOT NULL DEFAULT 0,
        lost int NOT NULL DEFAULT 0,
        attempts int NOT NULL DEFAULT 0,
        first_failure timestamptz,
        relaxed bool NOT NULL DEFAULT false,
        dead bool NOT NULL DEFAULT false,
        attributes bytea NOT NULL DEFAULT '{{}}',
        body bytea);
    CREATE INDEX IF NOT EXISTS messages_due ON {schema}.messages (grp, dead, due, id);
    CREATE INDEX IF NOT EXISTS messages_key ON {schema}.messages (grp, key, id) WHERE key IS NOT NULL;
    CREATE INDEX IF NOT EXISTS messages_holder ON {schema}.messages (holder) WHERE holder IS NOT NULL"""

COUNT = """
    SELECT count(*) FILTER (WHERE NOT dead AND due <= now()) AS ready,
           count(*) FILTER (WHERE NOT dead AND due > now() AND holder IS NOT NULL) AS in_flight,
           count(*) FILTER (WHERE NOT dead AND due > now() AND holder IS NULL) AS delayed,
           count(*) FILTER (WHERE dead) AS dead,
           extract(epoch FROM min(due) FILTER (WHERE NOT dead AND due > now() AND holder IS NULL) - now())::float AS next_due,
           min(id) FILTER (WHERE NOT dead AND (due <= now() OR holder IS NOT NULL)) AS oldest
    FROM messages WHERE grp = $1"""

NOTHING = Count(None, Exactness.UNKNOWN)


class TableAdmin:
    """Declares topics and groups, counts, and shows dead letters."""

    def __init__(self, link: Link, schema: str) -> None:
        self._link = link
        self._schema = schema

    async def plan(self, topology: Topology) -> Plan:
        topics = {name for (name,) in await self._link.ask("looking", "SELECT name FROM topics")}
        groups = {(topic, name) for topic, name in await self._link.ask("looking", "SELECT topic, name FROM groups")}
        wanted = sorted({topic.name for topic in topology.topics} | {s.topic.name for s in topology.subscriptions})
        changes = [Change("create", f"topic {name}") for name in wanted if name not in topics]
        changes += [
            Change("create", f"group {s.name}") for s in topology.subscriptions if (s.topic.name, s.group) not in groups
        ]
        return Plan(topology, tuple(changes))

    async def apply(self, plan: Plan, *, allow: Collection[str] = ()) -> None:
        del allow  # nothing can differ: topics and groups have no options here
        if not plan.changes:
            return
        topology = plan.topology
        topics = [topic.name for topic in topology.topics] + [s.topic.name for s in topology.subscriptions]
        groups = [s.topic.name for s in topology.subscriptions], [s.group for s in topology.subscriptions]
        wanted = ", ".join(change.what for change in plan.changes)
        await self._link.run(f"making tables for {wanted}", TABLES.format(schema=self._schema))
        insert = "INSERT INTO topics SELECT DISTINCT unnest($1::text[]) ON CONFLICT DO NOTHING"
        await self._link.ask("declaring topics", insert, topics)
        insert = "INSERT INTO groups (topic, name) SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING"
        await self._link.ask("declaring groups", insert, *groups)

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        return [subscription]

    async def backlog(self, subscription: Subscription) -> Backlog:
        group = await self._group(subscription)
        row = None if group is None else (await self._link.ask("counting", COUNT, group))[0]
        if row is None:
            counts: dict[str, Any] = dict.fromkeys(
                ("ready", "in_flight", "delayed", "dead", "oldest", "next_due"), NOTHING
            )
            return Backlog(subscription=subscription, **counts)
        oldest = await self._age(subscription, row["oldest"])
        figures: dict[str, Any] = {
            name: Count(row[name]) for name in ("ready", "in_flight", "delayed", "dead", "next_due")
        }
        return Backlog(subscription=subscription, oldest=Count(oldest), **figures)

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        look = "SELECT id, attributes, body FROM messages WHERE grp = $1 AND dead AND id > $2 ORDER BY id LIMIT $3"
        group = await self._group(subscription)
        rows = [] if group is None else await self._link.ask("browsing", look, group, int(after or 0), limit)
        topic = subscription.topic.name
        letters = [read(row["attributes"], row["body"], number=row["id"], topic=topic) for row in rows]
        return Page(letters, str(rows[-1]["id"]) if len(rows) == limit else None)

    async def _age(self, subscription: Subscription, number: int | None) -> float | None:
        """Seconds since the message was published."""
        rows = await self._link.ask("counting", "SELECT attributes FROM messages WHERE id = $1", number)
        if not rows:
            return None
        message = read(rows[0][0], None, number=number or 0, topic=subscription.topic.name)
        return max(0.0, (datetime.now(UTC) - message.time).total_seconds())

    async def _group(self, subscription: Subscription) -> int | None:
        find = "SELECT id FROM groups WHERE topic = $1 AND name = $2"
        rows = await self._link.ask("looking", find, subscription.topic.name, subscription.group)
        return rows[0][0] if rows else None
