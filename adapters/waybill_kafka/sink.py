"""Ways in: a topic, one group's inbox or waiting room, one group's dead letters."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from waybill.addressing import partition_of
from waybill.clock import Clock
from waybill.errors import BrokerError, missing, unrouted
from waybill.message import Message
from waybill.outcomes import Refused, SendResult, Unknown
from waybill.topology import Destination, TopicSpec
from waybill_kafka import names, records, rooms
from waybill_kafka.batching import Outbound
from waybill_kafka.cluster import Cluster
from waybill_kafka.layout import Layout
from waybill_kafka.options import options_of
from waybill_kafka.producing import ENVELOPE, Line

__all__ = ["KafkaSink"]

MARGIN = 0.05
"""Seconds before the deadline at which the answer is given up, so that ours comes in time."""
BATCH_HEAD = 128
SPREAD = 500
"""Messages without a key that go to one partition before the next has its turn: large batches cost least."""


class KafkaSink:
    """One destination on a producer of its own: what breaks it breaks no other's."""

    def __init__(self, cluster: Cluster, layout: Layout, destination: Destination, clock: Clock) -> None:
        spec, group = destination.topic, layout.alias(destination)
        self._layout = layout
        self._clock = clock
        self._destination = destination
        self._line = Line(cluster, destination.name)
        self._compacted = options_of(spec).compaction and destination.kind == "topic"
        self._most = cluster.table.max_message_size + ENVELOPE
        self._packed = cluster.table.compression != "none"
        self._topic = _place(destination, spec, group)
        self._later = names.later(spec, group)
        self._waits = destination.kind == "retry"
        self._turn = itertools.count()

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        until = deadline - MARGIN
        try:
            async with asyncio.timeout_at(until):
                partitions = await self._partitions(messages)
        except TimeoutError:
            return [Refused("the broker cannot be reached: no answer in time", transient=True)] * len(messages)
        except BrokerError as error:
            return [Refused(f"the broker cannot be reached: {error}", transient=True)] * len(messages)
        if isinstance(partitions, Refused):
            return [partitions] * len(messages)
        written = self._written(messages, partitions)
        outbound = [record for record in written if not isinstance(record, Refused)]
        try:
            sent = iter(await self._line.send(outbound, until)) if outbound else iter(())
        except BrokerError as error:
            sent = iter([Unknown(str(error))] * len(outbound))
        return [record if isinstance(record, Refused) else next(sent) for record in written]

    async def close(self) -> None:
        await self._line.close()

    async def _partitions(self, messages: Sequence[Message]) -> int | Refused:
        """How many partitions the destination has; or why it takes nothing."""
        needs_room = self._waits or any(message.due is not None for message in messages)
        if needs_room and await self._layout.room(self._later) is None:
            return Refused(f"{self._later} is not there, where messages wait: run `waybill topology apply`")
        if self._waits:
            return rooms.PARTITIONS
        partitions = await self._layout.partitions(self._topic)
        if partitions is None:
            return Refused(missing(self._destination.name))
        if self._destination.kind == "topic" and not await self._routed():
            return Refused(unrouted(self._destination.topic.name))
        largest = await self._layout.largest(self._topic, self._most)
        self._line.limit(largest)
        if not self._packed:  # how large it is when it is packed, nobody knows before
            self._most = min(self._most, largest - BATCH_HEAD)
        return partitions

    async def _routed(self) -> bool:
        return self._destination.topic.accept_unrouted or await self._layout.shared(self._destination.topic.name)

    def _written(self, messages: Sequence[Message], partitions: int) -> list[Outbound | Refused]:
        now = self._clock.time()
        written: list[Outbound | Refused] = []
        turn = next(self._turn)
        for number, message in enumerate(messages):
            key, body = records.key_of(message), message.body
            if key is None and (body is None or self._compacted):
                written.append(Refused("a message without a key cannot be kept by its key: give it one"))
                continue
            topic, headers = self._topic, records.write(message)
            if self._waits or (message.due is not None and message.due.timestamp() > now):
                due = now if message.due is None else message.due.timestamp()
                partition, until = rooms.hop(now, due)
                topic = self._later
                headers.append((records.DUE, f"{until * 1000:.0f}".encode()))
            elif key is None:
                partition = (turn + number // SPREAD) % partitions
            else:
                partition = partition_of(key, partitions)
            if (size := records.size(key, body, headers)) > self._most:
                written.append(
                    Refused(f"the message has {size} bytes with its headers, at most {self._most} are carried")
                )
                continue
            written.append(Outbound(topic, partition, key, body, headers, message.id))
        return written


def _place(destination: Destination, spec: TopicSpec, group: str | None) -> str:
    if destination.kind == "topic" or group is None:
        return names.topic(spec)
    return names.dead(spec, group) if destination.kind == "dead" else names.inbox(spec, group)
