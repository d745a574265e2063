"""Reading a stretch of a log once more, and moving a group that nobody consumes. No group is joined for either."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from waybill.errors import BrokerError, ConfigurationError, DestinationMissing, missing
from waybill.history import Stretch
from waybill.message import Delivery
from waybill.topology import Subscription
from waybill_kafka import names, records
from waybill_kafka.client import Consumer, TopicPartition
from waybill_kafka.cluster import Cluster
from waybill_kafka.mapping import mapped

__all__ = ["KafkaPast", "seek"]

READ_MS = 200
PATIENCE = 30.0
"""Seconds that the broker is given to show more of what it has."""


class KafkaPast:
    """One stretch. `topics`: those of the subscription, with their partitions."""

    def __init__(
        self,
        cluster: Cluster,
        reader: Consumer,
        subscription: Subscription,
        stretch: Stretch,
        topics: Mapping[str, int],
    ) -> None:
        self._cluster = cluster
        self._reader = reader
        self._subscription = subscription
        self._stretch = stretch
        self._topics = topics
        self._ends: dict[TopicPartition, int] = {}
        self._heard = time.monotonic()
        self.total = 0

    async def open(self) -> None:
        """Raises `ConfigurationError`, `DestinationMissing`."""
        if not self._topics:
            raise DestinationMissing(missing(self._subscription.topic.name))
        begins, ends = await bounds(self._cluster, self._reader, self._stretch, self._topics)
        self._ends = {tp: ends[tp] for tp in begins if begins[tp] < ends[tp]}
        self.total = sum(end - begins[tp] for tp, end in self._ends.items())
        if self._ends:
            self._reader.assign(list(self._ends))
        for tp in self._ends:
            self._reader.seek(tp, begins[tp])

    async def read(self, limit: int) -> Sequence[Delivery[Any]] | None:
        with mapped(f"cannot read what {self._subscription.topic.name} has kept"):
            await self._leave_what_is_over()
            if not self._ends:
                return None
            fetched = await self._reader.getmany(*self._ends, timeout_ms=READ_MS, max_records=limit)
        now = time.monotonic()
        if any(fetched.values()):
            self._heard = now
        elif now > self._heard + PATIENCE:
            raise BrokerError(f"the broker shows nothing more of {self._subscription.topic.name}: is it there?")
        found = [record for each in fetched.values() for record in each]
        return [self._delivery(record) for record in found if self._holds(record)]

    async def _leave_what_is_over(self) -> None:
        """Gaps and markers are no records: how far it has come, its position says."""
        over = [tp for tp, end in self._ends.items() if await self._reader.position(tp) >= end]
        for tp in over:
            del self._ends[tp]
        if over and self._ends:
            self._reader.pause(*over)

    def _holds(self, record: Any) -> bool:
        stretch, end = self._stretch, self._ends[TopicPartition(record.topic, record.partition)]
        return (
            record.offset < end
            and (stretch.since is None or record.timestamp >= _since(stretch.since))
            and (stretch.until is None or record.timestamp < _until(stretch.until))
        )

    def _delivery(self, record: Any) -> Delivery[Any]:
        spec = self._subscription.topic
        topic = record.topic if spec.pattern else spec.name
        return Delivery(
            message=records.read(
                record.key, record.value, record.headers, topic=topic, published=records.when(record.timestamp)
            ),
            topic=topic,
            group=self._subscription.group,
            partition=f"{record.topic}/{record.partition}",
            native=record,
        )

    async def close(self) -> None:
        """The reader is somebody else's."""


async def bounds(
    cluster: Cluster, reader: Consumer, stretch: Stretch, topics: Mapping[str, int]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Where the stretch begins and ends in each partition of which it has anything."""
    begins, ends = await cluster.bounds(topics, reader=reader)
    first, last = _positions(stretch.first, begins), _positions(stretch.last, begins)
    if first or last:
        begins = {tp: offset for tp, offset in begins.items() if tp in first or tp in last}
    if stretch.since is not None:
        since = await _at(cluster, reader, begins, _since(stretch.since))
        begins = {tp: max(offset, since.get(tp, ends[tp])) for tp, offset in begins.items()}
    if stretch.until is not None:
        until = await _at(cluster, reader, begins, _until(stretch.until))
        ends = {tp: min(offset, until.get(tp, offset)) for tp, offset in ends.items()}
    begins = {tp: max(offset, first.get(tp, offset)) for tp, offset in begins.items()}
    return begins, {tp: min(offset, last.get(tp, offset - 1) + 1) for tp, offset in ends.items()}


async def _at(
    cluster: Cluster, reader: Consumer, tps: Mapping[TopicPartition, int], when: int
) -> dict[TopicPartition, int]:
    """The first record of each partition that was published then or later, where there is one."""
    with mapped("cannot see what was published when"):
        async with asyncio.timeout(cluster.table.connect_timeout):
            found = await reader.offsets_for_times(dict.fromkeys(tps, when))
    return {tp: each.offset for tp, each in found.items() if each is not None}


def _since(when: datetime) -> int:
    """Records tell whole milliseconds, the rest cut off: what was published later within this one counts."""
    return math.floor(when.timestamp() * 1000)


def _until(when: datetime) -> int:
    return math.ceil(when.timestamp() * 1000)


def _positions(given: Sequence[str], known: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """`topic/3@1200`, as `Confirmed.position` has it."""
    found: dict[TopicPartition, int] = {}
    for text in given:
        place, _, offset = text.rpartition("@")
        topic, _, number = place.rpartition("/")
        if not (number.isdecimal() and offset.isdecimal()):
            raise ConfigurationError(f"{text!r} is no position: write topic/partition@offset, e.g. orders/3@1200")
        tp = TopicPartition(topic, int(number))
        if tp not in known:
            there = ", ".join(sorted(f"{each.topic}/{each.partition}" for each in known))
            raise ConfigurationError(f"{text!r}: there is no partition {place}. There are: {there}")
        if tp in found:
            raise ConfigurationError(f"{text!r}: {place} was named before: one position a partition")
        found[tp] = int(offset)
    return found


async def seek(cluster: Cluster, subscription: Subscription, stretch: Stretch, topics: Mapping[str, int]) -> None:
    """Commit where the stretch begins, for a group without members; else nothing, and a `BrokerError`."""
    group = names.group(subscription.topic, subscription.group)
    if not topics or not await cluster.committed(group):
        raise DestinationMissing(missing(subscription.name))
    if await cluster.living([group]):
        raise BrokerError(
            f"{subscription.name} is being consumed, and would go on from where it is: stop its consumers, then seek"
        )
    async with cluster.reader() as reader:
        begins, _ = await bounds(cluster, reader, stretch, topics)
    await cluster.commit(group, {tp: (offset, "") for tp, offset in begins.items()})
