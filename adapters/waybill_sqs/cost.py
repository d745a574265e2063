"""How many calls of AWS messages take. Pure: arithmetic, and no prices."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from waybill.calling import Calls
from waybill.topology import Subscription, Topology
from waybill_sqs.layout import Layout
from waybill_sqs.limits import BATCH, MOST_BYTES

__all__ = ["expected", "words"]

MILLION = 1_000_000
DAY = 86_400
BILLED = 64 << 10
"""Bytes that one call is billed for, and each more of them as one more."""


def expected(layout: Layout, topology: Topology, *, rate: float, size: int) -> Iterator[Calls]:
    """Of short handlers that succeed, in one process. rate: messages a second of each topic, size: bytes of one: both say how
    many share a call, with what they wait for others."""
    most, table = min(BATCH, max(1, MOST_BYTES // max(size, 1))), layout.table

    def billed(linger: float, size: int) -> float:
        shared = min(most, 1 + rate * linger)
        return MILLION / shared * max(1, ceil(shared * size / BILLED))

    for topic in topology.topics:
        call = "PublishBatch" if layout.published_to(topic) else "SendMessageBatch"
        yield Calls(what=f"{call} to {topic.name}", per_million=billed(table.send_linger, size))
    for subscription in topology.subscriptions:
        name, received = subscription.name, billed(table.receive_linger, size)
        yield Calls(what=f"ReceiveMessage of {name}", per_million=received, idle_per_day=DAY / table.wait)
        yield Calls(what=f"DeleteMessageBatch of {name}", per_million=billed(table.settle_linger, 0))


def words(layout: Layout, subscription: Subscription) -> Iterator[tuple[str, str]]:
    """For `waybill explain`: pairs of what and how many."""
    topology = Topology([subscription.topic], [subscription])
    calls = list(expected(layout, topology, rate=float("inf"), size=1))
    together = ", ".join(f"{each.what.split()[0]} {each.per_million:,.0f}" for each in calls)
    yield (
        "calls a million messages",
        f"{together} where ten share a call, as they do under load; one by one up to {MILLION:,} each",
    )
    renewed = round(subscription.lease * 2 / 3)
    yield (
        "and besides",
        (
            f"{3 * MILLION // BATCH:,} for each time that all are tried again; {MILLION // BATCH:,} for every {renewed} s that "
            "their handlers run"
        ),
    )
    idle = sum(each.idle_per_day for each in calls)
    yield "calls of an idle process", f"{idle:,.0f} a day: a receive waits {layout.table.wait} s"
