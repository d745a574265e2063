"""Dead letters in a log, from which no single one can be taken away: what was taken is noted beside the log's offset.

Each group's dead letters have a consumer group of their own, which never has members. Its committed offset and the metadata
beside it (`watermark`) say which letters are gone; so they are gone for everybody, and a letter that is still there keeps
those behind it from nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from waybill.adapter import Page
from waybill.errors import BrokerError, DestinationMissing, missing
from waybill.ids import derived_id
from waybill.message import Delivery, Message
from waybill.outcomes import DONE, LOST, Ack, Extended, ExtendResult, Failed, Settled, SettlementKind, SettleResult
from waybill.topology import Subscription
from waybill_kafka import names, records
from waybill_kafka.client import Consumer, TopicPartition
from waybill_kafka.cluster import Cluster
from waybill_kafka.mapping import mapped
from waybill_kafka.watermark import Watermark, finished_in, read, write

__all__ = ["DeadSource", "Letters", "browse"]

FULL = (
    "no more letters can be taken out of the middle of their partition: its note is full. Redrive or discard the oldest "
    "ones first"
)
READING = 10.0
"""Seconds that the broker is given to show what it has."""


class Letters:
    """The letters of one group that are left, oldest first."""

    def __init__(self, cluster: Cluster, reader: Consumer, subscription: Subscription, alias: str) -> None:
        self._cluster = cluster
        self._reader = reader
        self._subscription = subscription
        self.topic = names.dead(subscription.topic, alias)
        self.marks: dict[TopicPartition, Watermark] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._ahead: dict[TopicPartition, list[Any]] = {}

    async def open(self, after: Mapping[str, int] | None = None) -> None:
        """Look where they begin and end. `after`: by partition, what was seen already. Raises `DestinationMissing`."""
        topics = await self._cluster.topics([self.topic])
        if not topics:
            raise DestinationMissing(missing(self._subscription.name))
        first, self._ends = await self._cluster.bounds(topics, reader=self._reader)
        committed = await self._cluster.committed(self.topic)
        with mapped("cannot read the dead letters"):
            self._reader.assign(list(first))
            for tp, offset in first.items():
                kept, metadata = committed.get(tp, (offset, ""))
                self.marks[tp] = Watermark(max(kept, offset), read(metadata) if kept >= offset else None)
                begin = max(self.marks[tp].committed, (after or {}).get(str(tp.partition), 0))
                self.marks[tp].skip(begin)
                self._ahead[tp] = []
                self._reader.seek(tp, begin)

    async def next(self, limit: int) -> list[Any]:
        """The next records, at most so many; fewer only at the end."""
        found: list[Any] = []
        deadline = time.monotonic() + READING
        while len(found) < limit:
            lacking = [tp for tp, ahead in self._ahead.items() if not ahead and not self._at_end(tp)]
            if lacking:
                if time.monotonic() > deadline:
                    raise BrokerError(f"the dead letters of {self._subscription.name} cannot be read in time")
                await self._read()
                continue
            heads = [(ahead[0].timestamp, tp) for tp, ahead in self._ahead.items() if ahead]
            if not heads:
                break
            _, tp = min(heads)
            record = self._ahead[tp].pop(0)
            found.append(record)
        return found

    def _at_end(self, tp: TopicPartition) -> bool:
        return self.marks[tp].position >= self._ends[tp]

    async def _read(self) -> None:
        with mapped("cannot read the dead letters"):
            fetched = await self._reader.getmany(timeout_ms=200, max_records=500)
            for tp, found in fetched.items():
                for record in found:
                    if record.offset < self._ends[tp] and self.marks[tp].see(record.offset):
                        self._ahead[tp].append(record)
            for tp in self.marks:
                self.marks[tp].skip(min(await self._reader.position(tp), self._ends[tp]))

    def message(self, record: Any) -> Message:
        """One that another program has put there may have no id: then it has that of its place."""
        return records.read(
            record.key,
            record.value,
            record.headers,
            topic=self._subscription.topic.name,
            published=records.when(record.timestamp),
            ident=derived_id(f"{record.topic}/{record.partition}@{record.offset}"),
        )


async def browse(cluster: Cluster, subscription: Subscription, alias: str, *, after: str | None, limit: int) -> Page:
    seen: dict[str, int] = msgspec.json.decode(after, type=dict[str, int]) if after else {}
    async with cluster.reader() as reader:
        letters = Letters(cluster, reader, subscription, alias)
        try:
            await letters.open(seen)
        except DestinationMissing:
            return Page(())
        found = await letters.next(limit + 1)
    for record in found[:limit]:
        seen[str(record.partition)] = record.offset + 1
    more = msgspec.json.encode(seen).decode() if len(found) > limit else None
    return Page([letters.message(record) for record in found[:limit]], more)


class Kept(msgspec.Struct, frozen=True):
    """The letters of a partition that are written down as gone."""

    below: int
    beyond: frozenset[int]

    def __contains__(self, offset: int) -> bool:
        return offset < self.below or offset in self.beyond


class _All:
    """Of a partition of which nothing was written down now."""

    def __contains__(self, offset: int) -> bool:
        return True


class Token(msgspec.Struct, eq=False):
    """What settles a letter."""

    tp: TopicPartition
    offset: int
    settled: SettlementKind | None = None


class DeadSource:
    """Takes the letters there were when it was opened. Two at once may both take one: nothing keeps them apart."""

    def __init__(self, cluster: Cluster, reader: Consumer, subscription: Subscription, alias: str) -> None:
        self._cluster = cluster
        self._subscription = subscription
        self._letters = Letters(cluster, reader, subscription, alias)
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        await self._letters.open()

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        subscription = self._subscription
        return [
            Delivery(
                message=self._letters.message(record),
                topic=subscription.topic.name,
                group=subscription.group,
                partition=f"{record.topic}/{record.partition}",
                token=Token(TopicPartition(record.topic, record.partition), record.offset),
                native=record,
            )
            for record in await self._letters.next(limit)
        ]

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        results: list[SettleResult] = []
        changed: set[TopicPartition] = set()
        for item in settled:
            token: Token = item.delivery.token
            kind = type(item.settlement)
            if token.settled is not None and token.settled is not kind:
                results.append(LOST)
                continue
            results.append(DONE)
            token.settled = kind
            if kind is Ack:
                self._letters.marks[token.tp].finish(token.offset)
                changed.add(token.tp)
        kept = await self._note(changed) if changed else {}
        for place, item in enumerate(settled):
            token = item.delivery.token
            if token.settled is Ack and token.offset not in kept.get(token.tp, _All()):
                token.settled = None
                results[place] = Failed(FULL)
        return results

    async def _note(self, changed: set[TopicPartition]) -> dict[TopicPartition, Kept]:
        """Write down what is gone, with what others have taken meanwhile. Answers what could be."""
        async with self._lock:
            there = await self._cluster.committed(self._letters.topic)
            offsets: dict[TopicPartition, tuple[int, str]] = {}
            kept: dict[TopicPartition, Kept] = {}
            for tp in changed:
                marks = self._letters.marks[tp]
                if tp in there:
                    marks.join(there[tp][0], read(there[tp][1]))
                note = marks.note()
                offsets[tp] = (marks.offset, write(note))
                kept[tp] = Kept(marks.offset, frozenset(marks.offset + offset for offset in finished_in(note)))
            await self._cluster.commit(self._letters.topic, offsets)
            return kept

    async def close(self) -> None:
        """Let the broker remove what all have done with."""
        gone = {tp: marks.offset for tp, marks in self._letters.marks.items() if marks.offset > marks.committed}
        await self._cluster.sweep(gone)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        return [Extended(float("inf"))] * len(deliveries)

    async def quiesce(self) -> None:
        pass  # `receive` never waits
