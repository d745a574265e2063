"""Ways out: what a group's queues deliver, handed out as it is asked for and settled in bulk."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from waybill.adapter import Notify, Resumed, Revoked, Stalled
from waybill.clock import Clock
from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing, missing
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
from waybill_rabbitmq import headers, objects
from waybill_rabbitmq.client import Channel
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.earlier import Busy, Earlier
from waybill_rabbitmq.feed import Came, Feed
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped
from waybill_rabbitmq.objects import Shape
from waybill_rabbitmq.shapes import Shapes
from waybill_rabbitmq.version import hands_over

__all__ = ["RabbitSource", "Token"]

PATIENCE = 1.0
"""Seconds that `receive` waits for something."""
TURN = 0.2
"""Seconds after which is asked again whether another member is through."""
MOST_PREFETCHED = 2000


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
        self._earlier = Earlier(line, subscription)
        self._feed: Feed | None = None
        self._cause = ""
        self._out: dict[int, Delivery[Any]] = {}
        """Handed out and not settled, by tag; of ordered subscriptions only."""
        self._news = asyncio.Event()
        self._closings: set[asyncio.Task[None]] = set()
        self._quiet = False
        self._waits = False
        """For another member, not for the broker."""

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        """Raises `DestinationMissing`."""
        subscription = self._subscription
        if subscription.ephemeral:
            self._shape = Shape.of(subscription)
        else:
            self._shapes.forget(subscription)
            async with Hand(self._line) as hand:
                shape = await self._shapes.find(hand, subscription)
            if shape is None or (subscription.ordered and not shape.partitions):
                raise DestinationMissing(missing(subscription.name))
            self._shape = shape
        try:
            await self._consume()
        except Busy as busy:
            self._cause = str(busy)

    async def _consume(self) -> None:
        if self._subscription.ephemeral:
            async with Hand(self._line) as hand:
                await hand.make(objects.group(self._subscription, self._shape, delivery_limit=self._limit))
        elif self._shape.partitions:
            await self._earlier.claim()
        channel = await self._line.channel()
        feed = Feed(channel, self._member, self._news.set)
        queues = self._shape.queues(self._subscription)
        with mapped(f"cannot consume {self._subscription.name}"):
            if self._earlier.ours:
                await feed.first(self._earlier.queue)
            elif self._shape.partitions:
                await feed.own(queues, self._priorities(channel))
            else:
                await feed.share(queues[0], self._prefetch)
        channel.on_consumer_cancel_callbacks.add(lambda _: self._cancelled(feed))
        channel.when_gone(lambda _: self._gone(feed))
        self._feed, self._out = feed, {}

    def _priorities(self, channel: Channel) -> list[int]:
        """Who of the members consumes a partition: the one that ranks it highest. Each ranks all of them in an order of its
        own, so that no member is first, or last, everywhere."""
        if not hands_over(str(channel.connection.server_properties.get("version", ""))):
            return [0] * self._shape.partitions
        ranks = list(range(self._shape.partitions))
        random.Random(self._member).shuffle(ranks)  # noqa: S311 - not a secret
        return [rank << 16 | random.getrandbits(16) for rank in ranks]

    def _cancelled(self, feed: Feed) -> None:
        """The broker has ended a consumer: its queue was deleted, or its time was over."""
        self._cause = "the broker ended the consumer: its queue was removed, or a message was held for too long"
        self._drop(feed)

    def _gone(self, feed: Feed) -> None:
        self._cause = "the connection was lost"
        self._drop(feed)

    def _drop(self, feed: Feed) -> None:
        """Nothing more comes from there, and what came of it is somebody else's."""
        if self._feed is not feed:
            return
        self._feed = None
        lost, self._out = list(self._out.values()), {}
        if lost:
            self._notify(Revoked(lost))
        self._news.set()
        closing = asyncio.get_running_loop().create_task(feed.close())
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)

    async def quiesce(self) -> None:
        self._quiet = True
        self._news.set()
        if self._feed is not None and not self._shape.partitions:  # who leaves a partition gives it away at once
            with mapped("cannot stop consuming"):
                await self._feed.stop()

    async def close(self) -> None:
        self._quiet = True
        feed, self._feed = self._feed, None
        if feed is not None:
            await feed.close()
        if self._earlier.ours:
            await self._earlier.leave()
        if self._closings:
            await asyncio.wait(self._closings)

    # ---------------------------------------------------------------- receiving

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        failures = 0
        while not self._quiet:
            feed = self._feed
            if feed is None:
                if not failures:
                    self._notify(Stalled(self._cause))
                failures += 1
                if await self._again(failures):
                    failures = 0
                    self._notify(Resumed())
            elif feed.ready:
                return self._take(feed, limit)
            elif not await self._wait() and self._feed is feed and not await self._through(feed):
                return ()
        return ()

    async def _wait(self) -> bool:
        """Until there is news, or not."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                return await self._news.wait()
        return False

    async def _through(self, feed: Feed) -> bool:
        """Whether what came before the partitions is handled, and it is their turn. Asked when nothing has come for a while."""
        if not self._earlier.ours or self._out:
            return False
        try:
            if not await self._earlier.is_through():
                return False
            self._feed = None
            await feed.close()
            await self._earlier.remove()
            await self._consume()
        except BrokerError as error:
            self._cause = str(error)
        return True

    async def _again(self, failures: int) -> bool:
        """Consume anew, after a pause. Raises `DestinationMissing` where there is nothing any more."""
        if failures > 1:
            await asyncio.sleep(TURN if self._waits else back_off(failures))
        try:
            self._waits = False
            await self._consume()
        except DestinationMissing as error:
            raise DestinationMissing(
                f"{self._subscription.name} does not exist on this broker any more: run `waybill topology apply`"
            ) from error
        except BrokerError as error:
            self._cause, self._waits = str(error), isinstance(error, Busy)
            return False
        return True

    def _take(self, feed: Feed, limit: int) -> list[Delivery[Any]]:
        received = datetime.fromtimestamp(self._clock.time(), UTC)
        until = time.monotonic() + self._subscription.lease
        ready = feed.ready
        taken = [self._delivery(ready.popleft(), feed.channel, received, until) for _ in range(min(limit, len(ready)))]
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
        feed = self._feed
        acked: list[int] = []
        released: list[int] = []
        results = [self._settle(item, feed, acked, released) for item in settled]
        if feed is not None:
            if acked:
                with mapped("acknowledging"):
                    await feed.acknowledge(acked)
            if released:
                self._give_back(feed, released)
        return results

    def _give_back(self, feed: Feed, tags: Sequence[int]) -> None:
        """Of partitions all goes back at once, by leaving the channel: one by one they would come behind later ones."""
        if not self._shape.partitions:
            feed.give_back(tags)
        elif not self._quiet:
            self._cause = "messages of ordered keys were given back"
            self._drop(feed)

    def _settle(self, item: Settled, feed: Feed | None, acked: list[int], released: list[int]) -> SettleResult:
        token: Token = item.delivery.token
        kind = type(item.settlement)
        if token.settled is not None:
            return DONE if token.settled is kind else LOST
        if feed is None or token.channel is not feed.channel or feed.channel.is_closed:
            return LOST
        if kind not in {Ack, Release}:
            raise TypeError(f"RabbitMQ does not settle {kind.__name__} by itself")
        token.settled = kind
        self._out.pop(token.tag, None)
        (acked if kind is Ack else released).append(token.tag)
        return DONE

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        """The broker has no leases but the connection, which dies when one side is silent: here each delivery has one, so
        that a process that slept for longer than that knows it before it goes on."""
        feed = self._feed
        if self._line.open is None or feed is None:
            raise BrokerUnavailable(self._cause or "there is no connection")
        return [self._extended(delivery.token, feed, time.monotonic()) for delivery in deliveries]

    def _extended(self, token: Token, feed: Feed, now: float) -> ExtendResult:
        if token.settled is not None:
            return LOST
        if token.channel is not feed.channel:
            return Failed("its connection was lost")  # until its lease is over, it may finish
        if token.lease_until < now:
            token.settled = Release
            self._out.pop(token.tag, None)
            self._give_back(feed, [token.tag])
            return LOST
        token.lease_until = now + self._subscription.lease
        return Extended(token.lease_until)
