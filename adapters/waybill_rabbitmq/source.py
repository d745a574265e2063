"""Ways out: what a group's queues deliver, handed out as it is asked for and settled in bulk."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from waybill.adapter import Notify, Resumed, Revoked, Stalled
from waybill.clock import Clock
from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing
from waybill.message import Delivery
from waybill.outcomes import (
    DONE,
    LOST,
    Ack,
    Extended,
    ExtendResult,
    Failed,
    Release,
    Settled,
    SettlementKind,
    SettleResult,
)
from waybill.settling import back_off
from waybill.topology import Subscription
from waybill_rabbitmq import headers, objects, wire
from waybill_rabbitmq.client import Channel, Delivered, RawHeader
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped
from waybill_rabbitmq.objects import Shape
from waybill_rabbitmq.shapes import Shapes
from waybill_rabbitmq.window import Window

__all__ = ["RabbitSource"]

log = logging.getLogger("waybill.rabbitmq")

PATIENCE = 1.0
"""Seconds that `receive` waits for something."""
MOST_PREFETCHED = 2000
PARTITION_PREFETCH = 32
"""The same for every member: one that took fewer than the last one returned would leave the rest of them in front of what it
returns itself, since a quorum queue keeps what is returned in the order in which it was."""


Came: TypeAlias = tuple[Delivered, RawHeader, bytes]


class Token(msgspec.Struct, eq=False, gc=False):
    """What settles a delivery: its tag, which means something on its channel alone."""

    channel: Channel
    tag: int
    lease_until: float = float("inf")
    """On `time.monotonic()`."""
    settled: SettlementKind | None = None


class RabbitSource:
    """One subscription's consumers, on a channel of their own."""

    def __init__(
        self,
        line: Line,
        subscription: Subscription,
        shapes: Shapes,
        clock: Clock,
        notify: Notify,
        *,
        window: int,
        delivery_limit: int,
    ) -> None:
        self._line = line
        self._subscription = subscription
        self._shapes = shapes
        self._clock = clock
        self._notify = notify
        self._prefetch = min(window, MOST_PREFETCHED)
        self._limit = delivery_limit
        self._member = f"{random.getrandbits(64):016x}"
        self._shape = Shape()
        self._channel: Channel | None = None
        self._cause = ""
        self._ready: deque[Came] = deque()
        """Delivered and not handed out: the prefetch bounds it."""
        self._window = Window()
        self._out: dict[int, Delivery[Any]] = {}
        """Handed out and not settled, by tag; of ordered subscriptions only."""
        self._news = asyncio.Event()
        self._closings: set[asyncio.Task[None]] = set()
        self._quiet = False

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        """Raises `DestinationMissing`."""
        if self._subscription.ephemeral:
            self._shape = Shape.of(self._subscription)
        else:
            async with Hand(self._line) as hand:
                self._shapes.forget(self._subscription)
                shape = await self._shapes.find(hand, self._subscription)
            if shape is None or (self._subscription.ordered and not shape.partitions):
                raise DestinationMissing(
                    f"{self._subscription.name} does not exist on this broker: run `waybill topology apply`"
                )
            self._shape = shape
        await self._consume()

    async def _consume(self) -> None:
        if self._subscription.ephemeral:
            async with Hand(self._line) as hand:
                await hand.make(objects.group(self._subscription, self._shape, delivery_limit=self._limit))
        channel = await self._line.channel()
        window, name = Window(), self._subscription.name
        ready: deque[Came] = deque()

        def deliver(frame: Delivered, header: RawHeader, body: bytes) -> None:
            window.add(frame.delivery_tag or 0)
            ready.append((frame, header, body))
            self._news.set()

        queues = self._shape.queues(self._subscription)
        priorities = self._priorities()
        each = PARTITION_PREFETCH if self._shape.partitions else self._prefetch
        with mapped(f"cannot consume {name}"):
            await channel.basic_qos(prefetch_count=each)
            for number, queue in enumerate(queues):
                arguments = {"x-priority": priorities[number]} if priorities else None
                await channel.consume(queue, deliver, tag=f"{self._member}/{number}", arguments=arguments)
        channel.on_consumer_cancel_callbacks.add(lambda _: self._cancelled(channel))
        channel.when_gone(lambda _: self._gone(channel))
        self._channel, self._ready, self._window, self._out = channel, ready, window, {}

    def _priorities(self) -> list[int]:
        """Who of the members consumes a partition: the one that ranks it highest. Each ranks all of them in an order of its
        own, so that no member is first, or last, everywhere."""
        ranks = list(range(self._shape.partitions))
        random.Random(self._member).shuffle(ranks)  # noqa: S311 - not a secret
        return [rank << 16 | random.getrandbits(16) for rank in ranks]

    def _cancelled(self, channel: Channel) -> None:
        """The broker has ended a consumer: its queue was deleted, or its time was over."""
        self._cause = "the broker ended the consumer: its queue was removed, or a message was held for too long"
        self._drop(channel)

    def _gone(self, channel: Channel) -> None:
        self._cause = "the connection was lost"
        self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        """Nothing more comes from this channel, and what came of it is somebody else's."""
        if self._channel is not channel:
            return
        self._channel = None
        self._ready.clear()
        lost, self._out = list(self._out.values()), {}
        if lost:
            self._notify(Revoked(lost))
        self._news.set()
        if not channel.is_closed:
            task = asyncio.get_running_loop().create_task(_close(channel))
            self._closings.add(task)
            task.add_done_callback(self._closings.discard)

    async def quiesce(self) -> None:
        self._quiet = True
        self._news.set()
        channel = self._channel
        if channel is None or self._shape.partitions:
            return  # who stops consuming a partition gives the rest of it away at once
        with mapped("cannot stop consuming"):
            await channel.basic_cancel(f"{self._member}/0")
        if self._ready:
            self._give_back(channel, [frame.delivery_tag or 0 for frame, _, _ in self._ready])
            self._ready.clear()

    async def close(self) -> None:
        """Leave the channel: the broker takes back what is unsettled, in order."""
        self._quiet = True
        channel, self._channel = self._channel, None
        if channel is not None:
            await _close(channel)
        if self._closings:
            await asyncio.wait(self._closings)

    # ---------------------------------------------------------------- receiving

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        stalled, failures = False, 0
        while not self._quiet:
            if self._channel is None:
                if not stalled:
                    stalled = True
                    self._notify(Stalled(self._cause))
                failures += 1
                if not await self._again(failures):
                    continue
                self._notify(Resumed())
                stalled = False
            if self._ready:
                return self._take(limit)
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._news.wait()
            if not self._ready and self._channel is not None:
                return ()
        return ()

    async def _again(self, failures: int) -> bool:
        """Consume anew after a pause. Raises `DestinationMissing` where there is nothing any more."""
        if failures > 1:
            await asyncio.sleep(back_off(failures))
        try:
            await self._consume()
        except DestinationMissing as error:
            raise DestinationMissing(
                f"{self._subscription.name} does not exist on this broker any more: run `waybill topology apply`"
            ) from error
        except BrokerError as error:
            self._cause = str(error)
            return False
        return True

    def _take(self, limit: int) -> list[Delivery[Any]]:
        channel, ready = self._channel, self._ready
        assert channel is not None  # noqa: S101 - `receive` looked
        received = datetime.fromtimestamp(self._clock.time(), UTC)
        until = time.monotonic() + self._subscription.lease
        taken = [self._delivery(ready.popleft(), channel, received, until) for _ in range(min(limit, len(ready)))]
        if self._subscription.ordered:
            self._out |= {delivery.token.tag: delivery for delivery in taken}
        return taken

    def _delivery(self, came: Came, channel: Channel, received: datetime, until: float) -> Delivery[Any]:
        frame, header, body = came
        subscription = self._subscription
        message, given = headers.read(header.raw, body, subscription=subscription, received=received)
        count = given.get("x-delivery-count", 0)
        return Delivery(
            message=message,
            topic=subscription.topic.name,
            group=subscription.group,
            attempt=1 + message.attempts,
            redelivered=frame.redelivered,
            handed_out=1 + count if isinstance(count, int) else None,
            lease_until=until,
            partition=(frame.consumer_tag or "").rpartition("/")[2] if self._shape.partitions else None,
            token=Token(channel, frame.delivery_tag or 0, until),
        )

    # ---------------------------------------------------------------- settling

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        results: list[SettleResult] = []
        acked: list[int] = []
        released: list[Delivery[Any]] = []
        channel = self._channel
        for item in settled:
            token: Token = item.delivery.token
            kind = type(item.settlement)
            if token.settled is not None:
                results.append(DONE if token.settled is kind else LOST)
            elif channel is None or token.channel is not channel or channel.is_closed:
                results.append(LOST)
            else:
                token.settled = kind
                self._out.pop(token.tag, None)
                results.append(DONE)
                if kind is Ack:
                    acked.append(token.tag)
                elif kind is Release:
                    released.append(item.delivery)
                else:
                    raise TypeError(f"RabbitMQ does not settle {kind.__name__} by itself")
        if acked and channel is not None:
            with mapped("acknowledging"):
                await channel.write([wire.acks(channel.number, self._window.acknowledge(acked))])
        if released and channel is not None:
            self._release(channel, released)
        return results

    def _release(self, channel: Channel, released: Sequence[Delivery[Any]]) -> None:
        if not self._shape.partitions:
            self._give_back(channel, [delivery.token.tag for delivery in released])

    def _give_back(self, channel: Channel, tags: Sequence[int]) -> None:
        for tag in tags:
            self._window.remove(tag)
        channel.acknowledge(wire.nacks(channel.number, tags))

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        """The broker has no leases but the connection, which dies when one side is silent: here each delivery has one, so
        that a process that slept for longer than that knows it before it goes on."""
        connection = self._line.open
        if connection is None or self._channel is None:
            raise BrokerUnavailable(self._cause or "there is no connection")
        return [self._extended(delivery.token, time.monotonic()) for delivery in deliveries]

    def _extended(self, token: Token, now: float) -> ExtendResult:
        if token.settled is not None:
            return LOST
        if token.channel is not self._channel:
            return Failed("its connection was lost")  # until its lease is over, it may finish
        if token.lease_until < now:
            token.settled = Release
            self._out.pop(token.tag, None)
            self._give_back(token.channel, [token.tag])
            return LOST
        token.lease_until = now + self._subscription.lease
        return Extended(token.lease_until)


async def _close(channel: Channel) -> None:
    if not channel.is_closed:
        with suppress(BrokerError), mapped("cannot close a channel"):
            await channel.close()
