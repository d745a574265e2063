"""The partitions of a group spread over its members, by the members themselves.

Each member consumes all of them, and of each the broker feeds the one that came first, until it goes. Who is first in more
than its share, which follows from how many there are, gives the rest away, one partition's channel at a time: the next in
the queue's line is first then, and whoever gave it away is the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from waybill.errors import BrokerError
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.feed import Feed
from waybill_rabbitmq.line import Line

__all__ = ["spread", "too_many"]

T = TypeVar("T")

INTERVAL = 1.0
"""Seconds between two looks at how many members there are."""


async def spread(
    line: Line, queues: Sequence[str], feeds: Mapping[str, Feed], give_away: Callable[[Feed], None]
) -> None:
    """Give away, again and again, what is more than this member's share. Never returns."""
    while True:
        await asyncio.sleep(INTERVAL)
        held = [feeds[queue] for queue in queues if queue in feeds and feeds[queue].first]
        if len(held) > 1:
            with suppress(BrokerError):  # there is nothing to spread while the broker is away
                async with Hand(line) as hand:
                    found = await hand.queue(queues[-1])
                for feed in too_many(held, len(queues), found.consumers if found is not None else 1):
                    give_away(feed)


def too_many(held: Sequence[T], partitions: int, members: int) -> Sequence[T]:
    """Which of them are more than a fair share, which is rounded up. Pure."""
    return held[-(-partitions // max(1, members)) :]
