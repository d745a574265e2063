"""What lies before a group: offsets compared, and the first records that are not done with.

The broker does not tell what members hold: what is handed out counts as ready until it is committed, which takes
`commit_interval`. Offsets are messages but for what compaction took and for the markers and aborted records of transactions.
Where little is left it is read, and counted as it is; where much is, the figure is of offsets, and so never too low.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from waybill.topology import Backlog, Count, Exactness, PartBacklog, Subscription
from waybill_kafka import names
from waybill_kafka.client import Consumer, KafkaError, TopicPartition
from waybill_kafka.cluster import Cluster, Committed
from waybill_kafka.options import options_of
from waybill_kafka.watermark import finished_in, read

__all__ = ["count"]

NOTHING = Count(None, Exactness.UNKNOWN)
LOOKING = 1.0
"""Seconds that are spent on looking at what is left."""
FEW = 1000
"""So many that are left are read, each of them."""


class Rest(msgspec.Struct):
    """What is left of a partition: from `begin` to `end`, but for what is finished beyond."""

    begin: int
    end: int
    finished: frozenset[int]
    position: int = 0
    """How far it was read."""
    seen: int = 0
    """Records that were read, and are not finished."""
    oldest: int | None = None
    """When the first of them was published, in milliseconds."""

    @property
    def offsets(self) -> int:
        return self.end - self.begin - len(self.finished)

    @property
    def whole(self) -> bool:
        """Whether all of it was read."""
        return self.position >= self.end or not self.offsets

    @property
    def number(self) -> int:
        return self.seen if self.whole else self.offsets

    def take(self, records: Iterable[Any]) -> None:
        for record in records:
            if record.offset < self.end and record.offset not in self.finished:
                self.seen += 1
                self.oldest = record.timestamp if self.oldest is None else min(self.oldest, record.timestamp)


Rests = Mapping[TopicPartition, Rest]


async def count(cluster: Cluster, subscription: Subscription, alias: str, topics: Mapping[str, int]) -> Backlog:
    """`topics`: those that the subscription stands for, with their partitions."""
    spec = subscription.topic
    inbox, dead, later = names.inbox(spec, alias), names.dead(spec, alias), names.later(spec, alias)
    common = set[str]() if spec.pattern else {names.later(spec, None)}
    there = {**topics, **await cluster.topics({inbox, dead, later} | common)}
    async with cluster.reader() as reader:
        ends = await cluster.bounds(there, reader=reader)
        ready = await _left(cluster, names.group(spec, alias), {*topics, inbox}, ends)
        letters = await _left(cluster, dead, {dead}, ends)
        waiting = [await _left(cluster, names.forwarders(room), {room}, ends) for room in ({later} | common) & {*there}]
        oldest = await _look(reader, {tp: rest for tp, rest in ready.items() if rest.offsets})
    gaps = options_of(spec).compaction
    return Backlog(
        subscription=subscription,
        ready=Count(sum(rest.number for rest in ready.values()), _exactness(ready.values(), gaps=gaps)),
        in_flight=NOTHING,
        delayed=Count(sum(map(_offsets, waiting))),
        dead=Count(_offsets(letters)) if dead in there else NOTHING,
        oldest=oldest,
        next_due=NOTHING,
        handled=Count(sum(len(rest.finished) for rest in ready.values())),
        parts=[_part(tp, rest, gaps=gaps) for tp, rest in sorted(ready.items())],
    )


def _part(tp: TopicPartition, rest: Rest, *, gaps: bool) -> PartBacklog:
    return PartBacklog(
        partition=f"{tp.topic}/{tp.partition}",
        ready=Count(rest.number, _exactness([rest], gaps=gaps)),
        handled=Count(len(rest.finished)),
    )


def _exactness(rests: Iterable[Rest], *, gaps: bool) -> Exactness:
    """Offsets that were not looked at are messages, unless there is reason to doubt it."""
    return Exactness.APPROXIMATE if gaps and not all(rest.whole for rest in rests) else Exactness.EXACT


async def _left(
    cluster: Cluster,
    group: str,
    topics: set[str],
    bounds: tuple[Mapping[TopicPartition, int], Mapping[TopicPartition, int]],
) -> Rests:
    first, ends = bounds
    committed = await cluster.committed(group)
    found: dict[TopicPartition, Rest] = {}
    for tp, end in ends.items():
        if tp.topic in topics:
            offset, metadata = _known(committed.get(tp), first[tp])
            beyond = (offset + number for number in finished_in(read(metadata)))
            found[tp] = Rest(min(offset, end), end, frozenset(each for each in beyond if each < end))
    return found


def _known(committed: Committed | None, first: int) -> Committed:
    """Where the group is: at what it committed, or at the beginning; never before it."""
    return (first, "") if committed is None or committed[0] < first else committed


def _offsets(found: Rests) -> int:
    return sum(rest.offsets for rest in found.values())


async def _look(reader: Consumer, rests: Rests) -> Count:
    """Read what is left, all of it where that is little, and answer the age of the oldest record."""
    if not rests:
        return Count(None)
    most = max(rest.offsets for rest in rests.values())
    until = time.monotonic() + LOOKING
    try:
        reader.assign(list(rests))
        for tp, rest in rests.items():
            reader.seek(tp, rest.begin)
        while time.monotonic() < until and any(
            not rest.whole and (most <= FEW or rest.oldest is None) for rest in rests.values()
        ):
            for tp, records in (await reader.getmany(timeout_ms=100)).items():
                rests[tp].take(records)
            for tp, rest in rests.items():
                rest.position = await reader.position(tp)
    except KafkaError:
        return NOTHING
    ages = [rest.oldest for rest in rests.values() if rest.oldest is not None]
    known = all(rest.whole or rest.oldest is not None for rest in rests.values())
    if not ages:
        return Count(None) if known else NOTHING
    exact = Exactness.EXACT if known else Exactness.APPROXIMATE
    return Count(max(0.0, time.time() - min(ages) / 1000), exact)
