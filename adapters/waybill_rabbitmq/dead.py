"""A group's dead letters, to take: by a consumer that may hold so many as were asked for, and that leaves when it has them.

Fetched one by one (`basic.get`), each would cost a round trip and an entry of the queue's log that is synced to the disk.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from waybill.clock import Clock
from waybill.errors import BrokerError, DestinationMissing, missing
from waybill.message import Delivery
from waybill.outcomes import DONE, LOST, Extended, ExtendResult, Release, Settled, SettlementKind, SettleResult
from waybill.topology import Subscription
from waybill_rabbitmq import headers, names, wire
from waybill_rabbitmq.client import Channel, Delivered, RawHeader
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped

__all__ = ["DeadSource"]

QUIET = 1.0
"""Seconds without another letter after which none comes back. Who looks at dead letters has them all for a moment."""


class Letter(msgspec.Struct, eq=False, gc=False):
    """What settles a dead letter: its tag, on the channel that it came by."""

    channel: Channel
    tag: int
    settled: SettlementKind | None = None


class DeadSource:
    """What is released stays with us until we leave: given back at once, it would be the next to come."""

    def __init__(self, line: Line, subscription: Subscription, clock: Clock) -> None:
        self._line = line
        self._subscription = subscription
        self._clock = clock
        self._queue = names.dead(subscription.topic, subscription.group)
        self._left = 0
        self._turn = itertools.count()
        self._channel: Channel | None = None
        self._limiting = asyncio.Lock()
        """One limit is set at a time: a consumer has that of the moment in which it begins."""

    async def open(self) -> None:
        async with Hand(self._line) as hand:
            found = await hand.queue(self._queue)
        if found is None:
            raise DestinationMissing(missing(self._subscription.name))
        self._left = found.messages
        self._channel = await self._line.channel()

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and not channel.is_closed:
            with suppress(BrokerError), mapped("cannot close a channel"):
                await channel.close()

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        """The next dead letters, of those there were when it was opened. Does not wait for others."""
        channel, wanted = self._channel, min(limit, self._left)
        if channel is None or wanted <= 0:
            return []
        with mapped(f"cannot take dead letters of {self._subscription.name}"):
            taken = await self._taken(channel, wanted)
        self._left = self._left - len(taken) if len(taken) == wanted else 0
        return taken

    async def _taken(self, channel: Channel, wanted: int) -> list[Delivery[Any]]:
        """So many; fewer where no more come."""
        received = datetime.fromtimestamp(self._clock.time(), UTC)
        taken: list[Delivery[Any]] = []
        full = asyncio.Event()

        def deliver(letter: Delivered, header: RawHeader, body: bytes) -> None:
            taken.append(self._delivery(Letter(channel, letter.delivery_tag or 0), letter, header, body, received))
            if len(taken) >= wanted:
                full.set()

        tag = f"take-{next(self._turn)}"
        async with self._limiting:
            await channel.basic_qos(prefetch_count=wanted)  # as long as none is settled, no more come
            await channel.consume(self._queue, deliver, tag=tag)
        try:
            seen = -1
            while not full.is_set() and seen < len(taken):
                seen = len(taken)
                with suppress(TimeoutError):
                    async with asyncio.timeout(QUIET):
                        await full.wait()
        finally:
            await channel.basic_cancel(tag)
            del channel.on_delivery[tag]
        return taken

    def _delivery(
        self, token: Letter, letter: Delivered, header: RawHeader, body: bytes, received: datetime
    ) -> Delivery[Any]:
        message, _ = headers.read(header.raw, body, subscription=self._subscription, received=received, dead=True)
        return Delivery(
            message=message,
            topic=self._subscription.topic.name,
            group=self._subscription.group,
            redelivered=bool(letter.redelivered),
            token=token,
        )

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        results: list[SettleResult] = []
        acked: list[Letter] = []
        channel = self._channel
        for item in settled:
            token: Letter = item.delivery.token
            kind = type(item.settlement)
            if token.settled is not None:
                results.append(DONE if token.settled is kind else LOST)
                continue
            if channel is None or channel.is_closed or token.channel is not channel:
                results.append(LOST)
                continue
            token.settled = kind
            results.append(DONE)
            if kind is not Release:
                acked.append(token)
        if acked and channel is not None:
            await self._remove(channel, acked)
        return results

    async def _remove(self, channel: Channel, letters: Sequence[Letter]) -> None:
        try:
            with mapped("removing dead letters"):
                async with self._limiting:
                    await channel.write([wire.acks(channel.number, [(letter.tag, False) for letter in letters])])
                    await channel.basic_qos(prefetch_count=0)  # the answer says that it has read what was before
        except BaseException:
            for letter in letters:
                letter.settled = None
            raise

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        channel = self._channel
        alive = channel is not None and not channel.is_closed
        return [Extended(float("inf")) if alive and d.token.channel is channel else LOST for d in deliveries]

    async def quiesce(self) -> None:
        pass  # `receive` never waits
