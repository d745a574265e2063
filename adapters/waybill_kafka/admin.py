"""What exists on the broker, what is missing, what lies before each group, and its dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence

from waybill.adapter import Page
from waybill.errors import ConfigurationError
from waybill.foreign import NotPermitted
from waybill.topology import (
    Backlog,
    Change,
    Destination,
    Plan,
    Subscription,
    TopicSpec,
    Topology,
    matches,
)
from waybill_kafka import letters, names
from waybill_kafka.client import TopicPartition
from waybill_kafka.cluster import Cluster
from waybill_kafka.counting import count
from waybill_kafka.declaring import Seen, group_changes, parts_of, topic_changes, topic_of
from waybill_kafka.layout import Layout
from waybill_kafka.options import options_of

__all__ = ["KafkaAdmin"]

log = logging.getLogger("waybill.kafka")

ROUNDS = 20


class KafkaAdmin:
    """Declares topics and groups, counts, and shows dead letters."""

    def __init__(self, cluster: Cluster, layout: Layout) -> None:
        self._cluster = cluster
        self._layout = layout

    # ---------------------------------------------------------------- declaring

    async def plan(self, topology: Topology) -> Plan:
        seen = await self._see(topology)
        changes: list[Change] = []
        for spec in sorted(topology.topics, key=lambda spec: spec.name):
            if not spec.pattern:
                changes += topic_changes(spec, seen)
        for subscription in topology.subscriptions:
            changes += group_changes(subscription, subscription.group, seen)
        return Plan(topology, tuple(changes))

    async def _see(self, topology: Topology) -> Seen:
        mine = {names.topic(spec) for spec in topology.topics if not spec.pattern}
        parts = {
            part
            for s in topology.subscriptions
            for part in (names.inbox(s.topic, s.group), names.dead(s.topic, s.group), names.later(s.topic, s.group))
        }
        there = await self._cluster.topics(mine | parts)
        entries = await self._entries([name for name in there if name in mine])
        groups = set(await self._cluster.groups())
        return Seen(there, entries, groups)

    async def _entries(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, tuple[str, bool]]]:
        """What cannot be seen cannot be compared, and a service that changes nothing needs no right to see it."""
        try:
            return await self._cluster.entries(topics) if topics else {}
        except NotPermitted as error:
            log.warning("%s: whether it is as the code has it is not known", error)
            return {}

    async def apply(self, plan: Plan, *, allow: Collection[str] = ()) -> None:
        wanted = [c for c in plan.changes if c.action != "differs" or c.what in allow]
        if not wanted:
            return
        named = {change.what for change in wanted}
        specs = {spec.name: spec for spec in plan.topology.topics if not spec.pattern}
        specs |= {s.topic.name: s.topic for s in plan.topology.subscriptions if not s.topic.pattern}
        missing = await self._missing(specs)
        if missing:
            await self._cluster.create([topic_of(spec, self._cluster.table) for spec in missing])
        for spec in specs.values():
            if f"topic {spec.name}" in named and spec not in missing:
                await self._change(spec, [c for c in wanted if c.what == f"topic {spec.name}"])
        for subscription in plan.topology.subscriptions:
            if f"group {subscription.name}" in named:
                await self.make_group(subscription, subscription.group)
        self._layout.forget()

    async def _missing(self, specs: Mapping[str, TopicSpec]) -> list[TopicSpec]:
        there = await self._cluster.topics(list(specs))
        return [spec for name, spec in specs.items() if name not in there]

    async def _change(self, spec: TopicSpec, changes: Sequence[Change]) -> None:
        asked, name = options_of(spec).partitions, names.topic(spec)
        there = (await self._cluster.topics([name]))[name]
        if asked is not None and asked < there:
            raise ConfigurationError(
                f"{name}: it has {there} partitions, and none is ever taken away: make a topic of another name with "
                f"{asked}, and let this one run dry"
            )
        if asked is not None and asked > there:
            await self._grow(spec, asked)
        if any(not change.detail.startswith("partitions:") for change in changes):
            await self._cluster.configure(name, options_of(spec).entries(spec))

    async def _grow(self, spec: TopicSpec, partitions: int) -> None:
        """The topic, and what belongs to its groups: a key lies in the same partition of each."""
        topics = await self._cluster.topics()
        mine = names.topic(spec)
        parts = [t for t in topics if t.startswith(f"{mine}..") and t.endswith((".inbox", ".dead"))]
        await self._cluster.grow({t: partitions for t in (*parts, mine) if topics[t] < partitions})

    async def make_group(self, subscription: Subscription, alias: str) -> None:
        """Make a group's topics, and commit where it begins, unless it has begun."""
        spec = subscription.topic
        topics = await self.topics_of(spec)
        before = await self._others(spec, alias)
        ends = await self._cluster.bounds(
            topics
        )  # before we look whether it has begun: what comes later is not left out
        partitions = topics.get(spec.name) or self._cluster.table.partitions
        inbox = names.inbox(spec, alias)
        existed = bool(await self._cluster.topics([inbox]))
        await self._cluster.create(parts_of(subscription, alias, partitions, self._cluster.table))
        group = names.group(spec, alias)
        committed = await self._begun(group) if existed else await self._cluster.committed(group)
        start = subscription.start or ("latest" if before or subscription.ephemeral else "earliest")
        if existed and not committed:
            log.warning(
                "%s: it was there, and where it was is forgotten: the broker drops the offsets of a group that nobody "
                "consumes for as long as offsets.retention.minutes says. It begins with all that is kept",
                subscription.name,
            )
            start = "earliest"
        begin = ends[0] if start == "earliest" else ends[1]
        begin |= {TopicPartition(inbox, number): 0 for number in range(partitions)}
        missing = {tp: (offset, "") for tp, offset in begin.items() if tp not in committed}
        if missing and not (committed and len(missing) < len(begin) and await self._cluster.living([group])):
            await self._cluster.commit(group, missing)

    async def _begun(self, group: str) -> Mapping[TopicPartition, tuple[int, str]]:
        """What the group has committed, or is about to: another process may be making it just now."""
        for _ in range(ROUNDS):
            if committed := await self._cluster.committed(group):
                return committed
            await asyncio.sleep(0.1)
        return {}

    async def topics_of(self, spec: TopicSpec) -> dict[str, int]:
        """Those that it stands for, as far as they are there, with their partitions."""
        if not spec.pattern:
            return await self._cluster.topics([names.topic(spec)])
        found = await self._cluster.topics()
        return {name: number for name, number in found.items() if ".." not in name and matches(spec.name, name)}

    async def _others(self, spec: TopicSpec, alias: str) -> bool:
        """Whether the topic had a lasting group before this one."""
        if spec.pattern:
            return True
        found = names.lasting(names.groups_of(spec.name, await self._cluster.groups()))
        return bool(set(found) - {names.group(spec, alias)})

    async def drop_group(self, subscription: Subscription, alias: str) -> None:
        """Remove a group that went with its consumer, and all that belongs to it."""
        spec = subscription.topic
        await self._cluster.remove_group(names.group(spec, alias))
        await self._cluster.delete([names.inbox(spec, alias), names.dead(spec, alias), names.later(spec, alias)])
        await self._cluster.remove_group(names.forwarders(names.later(spec, alias)))

    async def is_there(self, subscription: Subscription) -> bool:
        """Whether the group was declared."""
        spec, group = subscription.topic, subscription.group
        wanted = {names.inbox(spec, group), names.dead(spec, group), names.later(spec, group)}
        wanted |= set() if spec.pattern else {names.topic(spec)}
        if wanted - (await self._cluster.topics(wanted)).keys():
            return False
        return bool(await self._cluster.committed(names.group(spec, group)))

    # ---------------------------------------------------------------- looking

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        return [subscription]

    async def backlog(self, subscription: Subscription) -> Backlog:
        spec = subscription.topic
        alias = self._layout.alias(Destination("group", spec, subscription.group)) or subscription.group
        return await count(self._cluster, subscription, alias, await self.topics_of(spec))

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        alias = self._layout.alias(Destination("dead", subscription.topic, subscription.group)) or subscription.group
        return await letters.browse(self._cluster, subscription, alias, after=after, limit=limit)
