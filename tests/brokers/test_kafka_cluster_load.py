"""Our publisher and our consumer on three Kafka nodes while the leader of a partition is killed, and the group's coordinator."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass

import pytest

from tests.brokers.kafka_cluster import KafkaCluster
from tests.brokers.running import Running
from waybill import App, PublishRefused, PublishUnknown, Retry, Settings, Topic
from waybill.loading import use_adapter
from waybill_kafka import Kafka, adapter

KEYS = 8
RECOVERY = 60.0
"""Seconds in which something is confirmed and handled again, and all that was confirmed has arrived."""
AWAY = 4.0
"""Seconds that a killed node is gone."""

use_adapter("kafka", adapter)


@dataclass
class Tick:
    key: str
    number: int


class Load:
    """Publishes each key's ticks one after another, and remembers what was confirmed and what was handled first."""

    def __init__(self, app: App, topic: Topic[Tick]) -> None:
        self._app, self._topic = app, topic
        self.confirmed: set[tuple[str, int]] = set()
        self.handled: dict[str, list[int]] = defaultdict(list)
        self.repeated = 0
        self.over = asyncio.Event()

    async def handle(self, tick: Tick) -> None:
        if tick.number in self.handled[tick.key]:
            self.repeated += 1
        else:
            self.handled[tick.key].append(tick.number)
        await asyncio.sleep(0.002)

    async def publish(self, key: str) -> None:
        for number in itertools.count():
            if self.over.is_set():
                return
            try:
                await self._app.publish(self._topic, Tick(key, number), deadline=5)
            except (PublishRefused, PublishUnknown):
                continue
            self.confirmed.add((key, number))

    @property
    def missing(self) -> set[tuple[str, int]]:
        return {(key, number) for key, number in self.confirmed if number not in self.handled[key]}

    async def moves(self) -> float:
        """Seconds until twenty more are confirmed and handled."""
        began = time.monotonic()
        confirmed, handled = len(self.confirmed), self._count()
        while len(self.confirmed) < confirmed + 20 or self._count() < handled + 20:
            assert time.monotonic() < began + RECOVERY, "nothing is confirmed, or nothing handled, any more"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    def _count(self) -> int:
        return sum(map(len, self.handled.values()))


async def strike(node: Running, load: Load) -> float:
    """Kill it, and bring it back while the load goes on. Seconds until all was well again without it."""
    await asyncio.to_thread(node.kill)
    took = await load.moves()
    await asyncio.sleep(AWAY)  # so long it is gone
    await asyncio.to_thread(node.start)
    await load.moves()
    return took


@pytest.mark.soak
@pytest.mark.disturbs
@pytest.mark.timeout(400)
async def test_nothing_is_lost_when_a_leader_and_the_coordinator_are_killed(kafka_cluster: KafkaCluster) -> None:
    topic = Topic(f"ticks-{uuid.uuid4().hex[:12]}", Tick, key=lambda tick: tick.key, groups=["load"]).on(
        Kafka(partitions=4, replication=3, min_insync_replicas=2)
    )
    broker = {"kafka": {"replication": 3, "session_timeout": 6.0}}
    app = App("load", settings=Settings(url=f"kafka://{kafka_cluster.addresses}", broker=broker))
    load = Load(app, topic)
    app.consume(topic, ordered=True, concurrency=16, retry=Retry.fixed(5, delay=0.1))(load.handle)
    async with app.running():
        publishing = [asyncio.create_task(load.publish(f"key-{number}")) for number in range(KEYS)]
        await load.moves()
        for turn in range(3):
            leader = await kafka_cluster.leader(topic.name, turn)
            print(f"leader of partition {turn} killed: all goes on after {await strike(leader, load):.1f} s")
            coordinator = await kafka_cluster.coordinator(f"{topic.name}..load")
            print(f"coordinator killed: all goes on after {await strike(coordinator, load):.1f} s")
        load.over.set()
        await asyncio.gather(*publishing)
        end = time.monotonic() + RECOVERY
        while load.missing:
            assert time.monotonic() < end, (
                f"{len(load.missing)} of {len(load.confirmed)} are lost: {load.missing!r:.300}"
            )
            await asyncio.sleep(0.05)
    print(f"{len(load.confirmed)} confirmed, all handled, {load.repeated} handled again")
    unordered = {key: numbers for key, numbers in load.handled.items() if numbers != sorted(numbers)}
    assert not unordered, f"order of keys among first handlings: {unordered!r:.500}"
