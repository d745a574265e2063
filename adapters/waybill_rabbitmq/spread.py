"""The partitions of a group spread over its members, by the members themselves.

Each member consumes all of them, and of each the broker feeds the one that came first, until it goes. Who is first in more
than its share, which follows from how many there are, gives the rest away, one partition's channel at a time: the next in
the queue's line is first then, and whoever gave it away is the last. A queue where nothing is ever put shows how many there
are, by its consumers: of a partition the broker counts none but the first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from waybill.errors import BrokerError
from waybill_rabbitmq.client import Channel
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.feed import Feed
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped

__all__ = ["Spread", "too_many"]

T = TypeVar("T")

log = logging.getLogger("waybill.rabbitmq")

INTERVAL = 1.0
"""Seconds between two looks at how many members there are."""


class Spread:
    """One member's part in it. `members`: the name of the queue that shows them."""

    def __init__(self, line: Line, members: str, give_away: Callable[[Feed], None]) -> None:
        self._line = line
        self._members = members
        self._give_away = give_away
        self._channel: Channel | None = None

    async def join(self) -> None:
        """Be counted. Raises `BrokerError`."""
        async with Hand(self._line) as hand:
            await hand.make_members(self._members)
        channel = self._channel = await self._line.channel()
        with mapped(f"cannot join {self._members}"):
            await channel.consume(self._members, lambda _frame, _header, _body: None, tag="member")

    async def leave(self) -> None:
        """Be counted no more."""
        if self._channel is not None and not self._channel.is_closed:
            with suppress(BrokerError), mapped("cannot close a channel"):
                await self._channel.close()

    async def watch(self, queues: Sequence[str], feeds: Mapping[str, Feed]) -> None:
        """Give away, again and again, what is more than this member's share. Never returns."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                if self._channel is None or self._channel.is_closed:
                    await self.join()
                else:
                    await self._share(self._channel, [feeds[queue] for queue in queues if queue in feeds], len(queues))
            except BrokerError as error:  # there is nothing to spread while the broker is away
                log.debug("members cannot be counted now: %s", error)

    async def _share(self, channel: Channel, feeds: Sequence[Feed], partitions: int) -> None:
        with mapped(f"cannot look at {self._members}"):
            members = (await channel.queue_declare(self._members, passive=True)).consumer_count or 1
        for feed in too_many([feed for feed in feeds if feed.first and not feed.leaving], partitions, members):
            self._give_away(feed)


def too_many(held: Sequence[T], partitions: int, members: int) -> Sequence[T]:
    """Which of them are more than a fair share, which is rounded up. Pure."""
    return held[-(-partitions // members) :]
