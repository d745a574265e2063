"""What one channel delivers of one queue, and what came of it and is not settled yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, TypeAlias

from waybill.errors import BrokerError
from waybill.message import Delivery
from waybill_rabbitmq import wire
from waybill_rabbitmq.client import Channel, Delivered, RawHeader
from waybill_rabbitmq.mapping import mapped
from waybill_rabbitmq.window import Window

__all__ = ["Came", "Feed"]

SUSPECT = 3
"""Hand-outs in vain from which a message may be one that kills processes: it is fetched alone."""
PARTITION_PREFETCH = 32
"""The same for every member: one that took fewer than the last one returned would leave the rest of them in front of what it
returns itself, since a quorum queue keeps what is returned in the order in which it was."""


class Feed:
    """A queue's way in, on a channel of its own: what is unsettled goes back when that is left, all at once and in order."""

    def __init__(self, channel: Channel, queue: str, ready: deque[Came], on_news: Callable[[], None]) -> None:
        """`ready`: where what came is put; it is bounded by what the broker may have outstanding here."""
        self.channel = channel
        self.queue = queue
        self.out: dict[int, Delivery[Any]] = {}
        """Handed out and not settled, by tag; of ordered subscriptions only."""
        self.first = False
        """Of a partition: whether no other member is before us, as far as we know."""
        self.leaving = False
        """Nothing more of it is handed out, whatever comes: it was lost, or is given away as soon as nothing is out."""
        self.acknowledging = False
        """Whether something that is no longer out has yet to be written."""
        self._ready = ready
        self._window = Window()
        self._on_news = on_news
        self._tags: list[str] = []
        self._speeding: asyncio.Task[None] | None = None

    async def share(self, prefetch: int) -> None:
        """Consume a queue that other members consume as well.

        The first message is fetched alone, and so is each that comes after one that was handed out in vain again and again:
        when it kills this process too, those behind it are not counted as handed out once more.
        """
        self._prefetch = prefetch - 1  # the first one may be held for long
        await self.channel.basic_qos(prefetch_count=1)
        await self._consume(self._slowly if self._prefetch else self._came)

    async def own(self) -> None:
        """Consume it for as long as no other member is before us."""
        await self.channel.basic_qos(prefetch_count=PARTITION_PREFETCH)
        declared = await self.channel.queue_declare(self.queue, passive=True)
        self.first = not declared.consumer_count
        await self._consume(self._came)

    def leave(self) -> None:
        """Hand out nothing more."""
        self.leaving = True
        self.drop()

    def drop(self) -> None:
        """Forget what came and is not handed out."""
        others = [came for came in self._ready if came[0] is not self]
        self._ready.clear()
        self._ready.extend(others)

    async def stop(self) -> None:
        """Have nothing more delivered, and give back what was not handed out."""
        if self._speeding is not None:
            await asyncio.wait([self._speeding])
        for tag in self._tags:
            await self.channel.basic_cancel(tag)
        self._tags.clear()
        if waiting := [frame.delivery_tag or 0 for feed, frame, _, _ in self._ready if feed is self]:
            self.give_back(waiting)
            self.drop()

    async def acknowledge(self, tags: Collection[int]) -> None:
        await self.channel.write([wire.acks(self.channel.number, self._window.acknowledge(tags))])

    def give_back(self, tags: Iterable[int]) -> None:
        for tag in tags:
            self._window.remove(tag)
        self.channel.submit(wire.nacks(self.channel.number, tags))

    async def close(self) -> None:
        """Leave the channel: the broker takes back what is unsettled, in order."""
        if self._speeding is not None:
            self._speeding.cancel()
        if not self.channel.is_closed:
            with suppress(BrokerError), mapped("cannot close a channel"):
                await self.channel.close()

    async def _consume(self, deliver: Callable[[Delivered, RawHeader, bytes], None]) -> None:
        tag = f"{id(self):x}/{len(self._tags)}"
        self._tags.append(tag)
        await self.channel.consume(self.queue, deliver, tag=tag)

    def _came(self, frame: Delivered, header: RawHeader, body: bytes) -> None:
        self.first = True
        self._window.add(frame.delivery_tag or 0)
        if self.leaving:
            return
        self._ready.append((self, frame, header, body))
        self._on_news()

    def _slowly(self, frame: Delivered, header: RawHeader, body: bytes) -> None:
        self._came(frame, header, body)
        if self._speeding is None and not _suspect(header):
            self._speeding = asyncio.get_running_loop().create_task(self._speed_up())

    async def _speed_up(self) -> None:
        """Fetch as much as there is room for: with another consumer, since the prefetch of one that runs is what it is."""
        with suppress(BrokerError), mapped("cannot fetch more"):  # a channel that has ended is noticed elsewhere
            (slow,) = self._tags
            await self.channel.basic_qos(prefetch_count=self._prefetch)
            await self._consume(self._came)
            await self.channel.basic_cancel(slow)
            self._tags.remove(slow)


Came: TypeAlias = tuple[Feed, Delivered, RawHeader, bytes]


def _suspect(header: RawHeader) -> bool:
    try:
        count = wire.read(header.raw).headers.get("x-delivery-count", 0)
    except ValueError:
        return False  # it will be a dead letter
    return isinstance(count, int) and count >= SUSPECT
