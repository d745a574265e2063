"""A group's dead letters, to take: fetched one by one, so that none is held that nobody asked for."""

from __future__ import annotations

import asyncio
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
from waybill_rabbitmq.client import Channel
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped

__all__ = ["DeadSource"]

TRIES, PAUSE = 50, 0.02
"""How often to ask again for a letter that was there, and seconds between."""


class Letter(msgspec.Struct, eq=False, gc=False):
    """What settles a dead letter: its tag, on the channel that it was fetched by."""

    channel: Channel
    tag: int
    settled: SettlementKind | None = None


class DeadSource:
    """What is released stays with us until we leave: given back at once, it would be the next one fetched."""

    def __init__(self, line: Line, subscription: Subscription, clock: Clock) -> None:
        self._line = line
        self._subscription = subscription
        self._clock = clock
        self._queue = names.dead(subscription.topic, subscription.group)
        self._left = 0
        self._vain = 0
        self._channel: Channel | None = None

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
        """The next dead letters, of those there were when it was opened. Does not wait."""
        taken: list[Delivery[Any]] = []
        channel = self._channel
        if channel is None:
            return taken
        received = datetime.fromtimestamp(self._clock.time(), UTC)
        while len(taken) < limit and self._left > 0:
            with mapped(f"cannot take dead letters of {self._subscription.name}"):
                got: Any = await channel.basic_get(self._queue)
            if got.delivery_tag is None:
                if await self._nothing_comes_back():
                    self._left = 0
                    break
                continue
            self._vain = 0
            self._left -= 1
            message, _ = headers.read(got.header.raw, got.body, subscription=self._subscription, received=received)
            taken.append(
                Delivery(
                    message=message,
                    topic=self._subscription.topic.name,
                    group=self._subscription.group,
                    redelivered=bool(got.redelivered),
                    token=Letter(channel, got.delivery_tag),
                )
            )
        return taken

    async def _nothing_comes_back(self) -> bool:
        """Who looks at dead letters has them all for a moment: whether they have stayed away for longer than that."""
        self._vain += 1
        if self._vain >= TRIES:
            return True
        await asyncio.sleep(PAUSE)
        return False

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        results: list[SettleResult] = []
        acked: list[int] = []
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
                acked.append(token.tag)
        if acked and channel is not None:
            with mapped("removing dead letters"):
                await channel.write([wire.acks(channel.number, [(tag, False) for tag in acked])])
        return results

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        channel = self._channel
        alive = channel is not None and not channel.is_closed
        return [Extended(float("inf")) if alive and d.token.channel is channel else LOST for d in deliveries]

    async def quiesce(self) -> None:
        pass  # `receive` never waits
