"""How many calls of AWS messages take, for `waybill explain`. Pure: arithmetic, and no prices."""

from __future__ import annotations

from collections.abc import Iterator

from waybill.topology import Subscription
from waybill_sqs.layout import Layout
from waybill_sqs.limits import BATCH

__all__ = ["expected"]

MILLION = 1_000_000
DAY = 86_400


def expected(layout: Layout, subscription: Subscription) -> Iterator[tuple[str, str]]:
    """What is said of a subscription: pairs of what and how many."""
    full = MILLION // BATCH
    before = "PublishBatch" if layout.published_to(subscription.topic) else "SendMessageBatch"
    alone = f"where ten share a call, as they do under load; one by one up to {MILLION:,} each"
    yield (
        "calls a million messages",
        f"{before} {full:,}, ReceiveMessage {full:,}, DeleteMessageBatch {full:,} {alone}",
    )
    renewed = round(subscription.lease * 2 / 3)
    yield (
        "and besides",
        f"{3 * full:,} for each time that all are tried again; {full:,} for every {renewed} s that their handlers run",
    )
    yield "calls of an idle process", f"{DAY // layout.table.wait:,} a day: a receive waits {layout.table.wait} s"
