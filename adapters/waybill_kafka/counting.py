"""What lies before a group: offsets compared, and the time of the first record that is not done with.

The broker does not tell what members hold: what is handed out counts as ready until it is committed, which takes
`commit_interval`. Offsets are messages but for what compaction took and for the markers of transactions, so a figure is
never too low.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from waybill.topology import Backlog, Count, Exactness, Subscription
from waybill_kafka import names
from waybill_kafka.client import Consumer, KafkaError, TopicPartition
from waybill_kafka.cluster import Cluster, Committed
from waybill_kafka.options import options_of
from waybill_kafka.watermark import left

__all__ = ["count"]

NOTHING = Count(None, Exactness.UNKNOWN)
LOOKING = 1.0
"""Seconds that are spent on finding the oldest message."""


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
        oldest = await _oldest(reader, {tp: begin for tp, (begin, number) in ready.items() if number})
    exact = Exactness.APPROXIMATE if options_of(spec).compaction else Exactness.EXACT
    return Backlog(
        subscription=subscription,
        ready=Count(_sum(ready), exact),
        in_flight=NOTHING,
        delayed=Count(sum(map(_sum, waiting))),
        dead=Count(_sum(letters)) if dead in there else NOTHING,
        oldest=oldest,
        next_due=NOTHING,
    )


Left = Mapping[TopicPartition, tuple[int, int]]
"""Of each partition, where what is left begins, and how much that is."""


async def _left(
    cluster: Cluster,
    group: str,
    topics: set[str],
    bounds: tuple[Mapping[TopicPartition, int], Mapping[TopicPartition, int]],
) -> Left:
    first, ends = bounds
    committed = await cluster.committed(group)
    found: dict[TopicPartition, tuple[int, int]] = {}
    for tp, end in ends.items():
        if tp.topic in topics:
            offset, metadata = _known(committed.get(tp), first[tp])
            found[tp] = offset, left(end, offset, metadata)
    return found


def _known(committed: Committed | None, first: int) -> Committed:
    """Where the group is: at what it committed, or at the beginning; never before it."""
    return (first, "") if committed is None or committed[0] < first else committed


def _sum(found: Left) -> int:
    return sum(number for _, number in found.values())


async def _oldest(reader: Consumer, begins: Mapping[TopicPartition, int]) -> Count:
    """The age of the oldest of these records."""
    if not begins:
        return Count(None)
    until = time.monotonic() + LOOKING
    oldest: dict[TopicPartition, int] = {}
    try:
        reader.assign(list(begins))
        for tp, offset in begins.items():
            reader.seek(tp, offset)
        while len(oldest) < len(begins) and time.monotonic() < until:
            for tp, records in (await reader.getmany(timeout_ms=100)).items():
                oldest.setdefault(tp, records[0].timestamp)
    except KafkaError:
        return NOTHING
    if not oldest:
        return NOTHING
    exact = Exactness.EXACT if len(oldest) == len(begins) else Exactness.APPROXIMATE
    return Count(max(0.0, time.time() - min(oldest.values()) / 1000), exact)
