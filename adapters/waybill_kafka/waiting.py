"""The waiting rooms that one consumer looks after: its group's, and those of its topics, as they come into being."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import Task

from waybill.clock import Clock
from waybill.errors import BrokerError
from waybill.topology import Subscription, matches
from waybill_kafka import names
from waybill_kafka.cluster import Cluster
from waybill_kafka.forwarding import Forwarder
from waybill_kafka.layout import Layout

__all__ = ["Rooms"]

LOOK = 2.0
"""Seconds between two looks whether something is published for later."""
SUFFIX = "..later"


class Rooms:
    """From `start` to `close`."""

    def __init__(self, cluster: Cluster, layout: Layout, subscription: Subscription, alias: str, clock: Clock) -> None:
        self._cluster = cluster
        self._layout = layout
        self._spec = subscription.topic
        self._clock = clock
        self._session = subscription.lease
        self._own = names.later(self._spec, alias), names.inbox(self._spec, alias)
        self._forwarders: dict[str, Forwarder] = {}
        self._task: Task[None] | None = None

    def start(self) -> None:
        self._look_after(*self._own)
        self._task = asyncio.get_running_loop().create_task(self._look(), name=f"waybill-kafka-rooms {self._spec.name}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await asyncio.gather(*(forwarder.close() for forwarder in self._forwarders.values()))

    def _look_after(self, room: str, target: str) -> None:
        if room not in self._forwarders:
            made = Forwarder(self._cluster, self._layout, room, target, self._clock, session=self._session)
            self._forwarders[room] = made
            made.start()

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(BrokerError):
                for topic in await self._topics():
                    self._look_after(f"{topic}{SUFFIX}", topic)
            await asyncio.sleep(LOOK)

    async def _topics(self) -> list[str]:
        """Those of which something waits."""
        if not self._spec.pattern:
            room = names.later(self._spec, None)
            if room in self._forwarders:
                return []
            return [self._spec.name] if room in await self._cluster.topics([room]) else []
        there = await self._cluster.topics()
        rooms = (name.removesuffix(SUFFIX) for name in there if name.endswith(SUFFIX))
        return [name for name in rooms if ".." not in name and matches(self._spec.name, name)]
