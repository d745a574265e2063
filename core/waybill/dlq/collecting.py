"""From the brokers into the index: a look at each group's dead letters. None is taken away."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec

from waybill.adapter import Admin
from waybill.dlq.index import Index
from waybill.dlq.model import Recorded
from waybill.letters import pages
from waybill.topology import Subscription

__all__ = ["Collected", "collect"]


class Collected(msgspec.Struct, frozen=True):
    """What a look at one group's dead letters has brought."""

    found: Recorded
    complete: bool
    """`False`: the broker could not show all of them, so none is taken for gone."""


async def collect(admin: Admin, subscription: Subscription, index: Index) -> Collected:
    """Bring all of the group's dead letters to the index, a page at a time, and note which are there no longer.

    Raises `BrokerError`; what was seen until then is in the index.
    """
    topic, group = subscription.topic.name, subscription.group
    look = await asyncio.to_thread(index.look, topic, group, now=datetime.now(UTC))
    complete, whole = True, False
    try:
        async with aclosing(pages(admin, subscription)) as shown:
            async for page in shown:
                complete = complete and page.complete
                await asyncio.to_thread(look.record, page.messages, now=datetime.now(UTC))
        whole = complete
    finally:
        found = await asyncio.to_thread(look.end, complete=whole, now=datetime.now(UTC))
    return Collected(found, complete)
