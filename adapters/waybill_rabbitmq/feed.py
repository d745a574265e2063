"""What one channel delivers: consumers, and what came and is not handed out or not settled yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TypeAlias

from waybill.errors import BrokerError
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

Came: TypeAlias = tuple[Delivered, RawHeader, bytes]


class Feed:
    """One life of a source. `ready` is bounded by what the broker may have outstanding here."""

    def __init__(self, channel: Channel, member: str, on_news: Callable[[], None]) -> None:
        self.channel = channel
        self.ready: deque[Came] = deque()
        self._window = Window()
        self._member = member
        self._on_news = on_news
        self._tags: list[str] = []
        self._speeding: asyncio.Task[None] | None = None

    async def share(self, queue: str, prefetch: int) -> None:
        """Consume a queue that other members consume as well.

        The first message is fetched alone, and so is each that comes after one that was handed out in vain again and again:
        when it kills this process too, those behind it are not counted as handed out once more.
        """
        self._queue, self._prefetch = queue, prefetch - 1  # the first one may be held for long
        await self.channel.basic_qos(prefetch_count=1)
        await self._consume(queue, self._first if self._prefetch else self._came)

    async def first(self, queue: str) -> None:
        """Consume what came before the partitions, which is for one member."""
        await self.channel.basic_qos(prefetch_count=PARTITION_PREFETCH)
        await self._consume(queue, self._came)

    async def own(self, queues: Sequence[str], priorities: Sequence[int]) -> None:
        """Consume partitions, each for as long as no other member is before us."""
        await self.channel.basic_qos(prefetch_count=PARTITION_PREFETCH)
        for queue, priority in zip(queues, priorities, strict=True):
            await self._consume(queue, self._came, {"x-priority": priority})

    async def stop(self) -> None:
        """Have nothing more delivered, and give back what was not handed out."""
        if self._speeding is not None:
            await asyncio.wait([self._speeding])
        for tag in self._tags:
            await self.channel.basic_cancel(tag)
        self._tags.clear()
        if self.ready:
            self.give_back([frame.delivery_tag or 0 for frame, _, _ in self.ready])
            self.ready.clear()

    async def acknowledge(self, tags: Collection[int]) -> None:
        await self.channel.write([wire.acks(self.channel.number, self._window.acknowledge(tags))])

    def give_back(self, tags: Sequence[int]) -> None:
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

    async def _consume(
        self,
        queue: str,
        deliver: Callable[[Delivered, RawHeader, bytes], None],
        arguments: dict[str, int] | None = None,
    ) -> None:
        tag = f"{self._member}/{len(self._tags)}"
        self._tags.append(tag)
        await self.channel.consume(queue, deliver, tag=tag, arguments=arguments)

    def _came(self, frame: Delivered, header: RawHeader, body: bytes) -> None:
        self._window.add(frame.delivery_tag or 0)
        self.ready.append((frame, header, body))
        self._on_news()

    def _first(self, frame: Delivered, header: RawHeader, body: bytes) -> None:
        self._came(frame, header, body)
        if self._speeding is None and not _suspect(header):
            self._speeding = asyncio.get_running_loop().create_task(self._speed_up())

    async def _speed_up(self) -> None:
        """Fetch as much as there is room for: with another consumer, since the prefetch of one that runs is what it is."""
        with suppress(BrokerError), mapped("cannot fetch more"):  # a channel that has ended is noticed elsewhere
            (slow,) = self._tags
            await self.channel.basic_qos(prefetch_count=self._prefetch)
            await self._consume(self._queue, self._came)
            await self.channel.basic_cancel(slow)
            self._tags.remove(slow)


def _suspect(header: RawHeader) -> bool:
    try:
        count = wire.read(header.raw).headers.get("x-delivery-count", 0)
    except ValueError:
        return False  # it will be a dead letter
    return isinstance(count, int) and count >= SUSPECT
