"""What is there, as far as it was seen: partitions of topics, groups of topics. Looked at again before it grows old."""

from __future__ import annotations

import asyncio

from waybill.errors import BrokerError
from waybill.topology import Destination
from waybill_kafka import names, rooms
from waybill_kafka.cluster import Cluster, NewTopic

__all__ = ["FOR_EVER", "Layout"]

FRESH = 3.0
"""Seconds that what was seen is believed."""
FOR_EVER = {"retention.ms": "-1", "cleanup.policy": "delete"}
"""What waits or is dead is kept until somebody is done with it."""


class Layout:
    """One connected adapter's memory of the broker."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._partitions: dict[str, tuple[float, int]] = {}
        self._largest: dict[str, int] = {}
        self._groups: tuple[float, list[str]] = (0.0, [])
        self._passing: dict[tuple[str, str], str] = {}

    def alias(self, destination: Destination) -> str | None:
        """The group's name on the broker: a consumer that goes with its process has one of its own."""
        group = destination.group
        return None if group is None else self._passing.get((destination.topic.name, group), group)

    def passes(self, topic: str, group: str, alias: str | None) -> None:
        """The group of this name goes with its consumer here, and has another on the broker; `None`: it has gone."""
        if alias is None:
            self._passing.pop((topic, group), None)
        else:
            self._passing[topic, group] = alias

    async def partitions(self, topic: str) -> int | None:
        """How many it has, or `None` where it is not there."""
        now = asyncio.get_running_loop().time()
        seen = self._partitions.get(topic)
        if seen is not None and seen[0] > now - 10 * FRESH:
            return seen[1]
        try:
            found = (await self._cluster.topics([topic])).get(topic)
        except BrokerError:
            if seen is None:
                raise
            return seen[1]  # away just now: nothing can be sent anyway
        if found is None:
            self._partitions.pop(topic, None)
        else:
            self._partitions[topic] = (now, found)
        return found

    async def largest(self, topic: str, otherwise: int) -> int:
        """Bytes of the largest batch that the topic takes, where we may know."""
        if topic not in self._largest:
            try:
                found = (await self._cluster.entries([topic]))[topic].get("max.message.bytes", ("", False))[0]
            except BrokerError:
                return otherwise
            self._largest[topic] = int(found) if found.isdigit() else otherwise
        return self._largest[topic]

    async def room(self, topic: str) -> int | None:
        """The waiting room of this name, made where there is none yet and we may."""
        found = await self.partitions(topic)
        if found is None:
            await self._cluster.create([room(topic, self._cluster.table.replication)])
            found = await self.partitions(topic)
        return found

    async def shared(self, topic: str) -> bool:
        """Whether a group shares the topic, and not only as the remains of one that went with its process."""
        now = asyncio.get_running_loop().time()
        if self._groups[0] > now - FRESH and names.lasting(names.groups_of(topic, self._groups[1])):
            return True
        try:
            self._groups = (now, await self._cluster.groups())
        except BrokerError:
            if not self._groups[1]:
                raise
        found = names.groups_of(topic, self._groups[1])
        if names.lasting(found) or names.lasting(names.sharers(topic, await self._cluster.topics())):
            return True  # a broker that starts has not heard of its groups yet; of their topics it has
        return bool(found) and await self._cluster.living(found)

    def forget(self) -> None:
        """Look again at everything."""
        self._partitions.clear()
        self._largest.clear()
        self._groups = (0.0, [])


def room(topic: str, replication: int) -> NewTopic:
    return NewTopic(topic, rooms.PARTITIONS, replication, topic_configs=FOR_EVER)
