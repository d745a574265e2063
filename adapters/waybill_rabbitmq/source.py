"""Ways out: what a group's queues deliver, handed out as it is asked for and settled in bulk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
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
from waybill_rabbitmq import headers, names, objects
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.earlier import Busy, Earlier
from waybill_rabbitmq.feed import Came, Feed
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped
from waybill_rabbitmq.objects import Shape
from waybill_rabbitmq.shapes import Shapes
from waybill_rabbitmq.spread import Spread

__all__ = ["RabbitSource", "Token"]

log = logging.getLogger("waybill.rabbitmq")

PATIENCE = 1.0
"""Seconds that `receive` waits for something."""
PARTING = 1.0
"""Seconds that the broker is given to send an ephemeral group nothing more."""
TURN = 0.2
"""Seconds after which is asked again whether another member is through."""
MOST_PREFETCHED = 2000
CANCELLED = "the broker ended the consumer: its queue was removed, or a message was held for too long"


class Token(msgspec.Struct, eq=False, gc=False):
    """What settles a delivery: its tag, which means something on its feed's channel alone."""

    feed: Feed
    tag: int
    lease_until: float = float("inf")
    """On `time.monotonic()`."""
    settled: SettlementKind | None = None


class RabbitSource:
    """One subscription's consumers: of one queue, or of each partition."""

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
        self._shape = Shape()
        self._earlier = Earlier(line, subscription)
        self._feeds: dict[str, Feed] = {}
        """By queue."""
        self._ready: deque[Came] = deque()
        self._cause = ""
        """Why a queue has no feed; nothing where it was given away."""
        self._news = asyncio.Event()
        self._closings: set[asyncio.Task[None]] = set()
        self._spread: Spread | None = None
        self._spreading: asyncio.Task[None] | None = None
        self._quiet = False
        self._waits = False
        """For another member, not for the broker."""

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        """Raises `DestinationMissing`."""
        try:
            await self._open()
        except (
            BaseException
        ):  # what is consumed by now would be fed, and keep others from it, for as long as the connection lives
            with suppress(TimeoutError):
                async with asyncio.timeout(PARTING):
                    await self.close()
            raise

    async def _open(self) -> None:
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
        if self._shape.partitions and not subscription.ephemeral:
            self._spread = Spread(self._line, names.members(subscription), self._give_away)
            await self._spread.join()
        try:
            await self._consume()
        except Busy as busy:
            self._cause = str(busy)
        if self._spread is not None:
            watching = self._spread.watch(self._shape.queues(subscription), self._feeds)
            self._spreading = asyncio.get_running_loop().create_task(watching)

    async def _consume(self) -> None:
        """Consume what is not consumed now."""
        if self._subscription.ephemeral:
            async with Hand(self._line) as hand:
                await hand.make(objects.group(self._subscription, self._shape, delivery_limit=self._limit))
        elif self._shape.partitions and not self._feeds:
            await self._earlier.claim()
        for error in await asyncio.gather(*map(self._attach, self._absent()), return_exceptions=True):
            if error is not None:
                raise error

    def _absent(self) -> list[str]:
        """The queues that have no feed."""
        wanted = [self._earlier.queue] if self._earlier.ours else self._shape.queues(self._subscription)
        return [queue for queue in wanted if queue not in self._feeds]

    async def _attach(self, queue: str) -> None:
        channel = await self._line.channel()
        feed = Feed(channel, queue, self._ready, self._news.set)
        with mapped(f"cannot consume {self._subscription.name}"):
            await (feed.own() if self._shape.partitions else feed.share(self._prefetch))
        channel.on_consumer_cancel_callbacks.add(lambda _: self._lose(feed, CANCELLED))
        channel.when_gone(lambda _: self._lose(feed, "the connection was lost"))
        self._feeds[queue] = feed

    def _lose(self, feed: Feed, cause: str) -> None:
        """Nothing more comes from there, and what came of it is somebody else's."""
        if self._feeds.get(feed.queue) is not feed:
            return
        del self._feeds[feed.queue]
        self._cause = self._cause or cause
        feed.leave()
        lost, feed.out = list(feed.out.values()), {}
        if lost:
            self._notify(Revoked(lost))
        self._news.set()
        closing = asyncio.get_running_loop().create_task(feed.close())
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)

    def _give_away(self, feed: Feed) -> None:
        """Let another member have this partition when nothing of it is out, and be behind it then."""
        feed.leave()
        self._leave_if_done(feed)

    def _leave_if_done(self, feed: Feed) -> None:
        if feed.leaving and not feed.out and not feed.acknowledging:
            self._lose(feed, "")

    async def quiesce(self) -> None:
        self._quiet = True
        self._news.set()
        if self._subscription.ephemeral:
            await self._part()
        if not self._shape.partitions:  # who leaves a partition gives it away at once
            with mapped("cannot stop consuming"):
                for feed in self._feeds.values():
                    await feed.stop()

    async def close(self) -> None:
        self._quiet = True
        if self._spreading is not None:
            self._spreading.cancel()
        feeds = list(self._feeds.values())
        self._feeds.clear()
        await asyncio.gather(*(feed.close() for feed in feeds))
        if self._spread is not None:
            await self._spread.leave()
        if self._earlier.ours:
            await self._earlier.leave()
        if self._closings:
            await asyncio.wait(self._closings)

    async def _part(self) -> None:
        """Have nothing more of the topic. RabbitMQ 4.3 goes on routing to a queue for a moment after it has gone with its
        connection, and refuses such a message (`basic.nack`) though all the others have it."""
        if self._line.open is None:
            return
        with suppress(BrokerError, TimeoutError):  # the broker says it to the publishers then
            async with asyncio.timeout(PARTING), Hand(self._line) as hand:
                await hand.unbind(objects.share(self._subscription))

    # ---------------------------------------------------------------- receiving

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        failures, told = 0, False
        while not self._quiet:
            if self._absent():
                if self._cause and not told:
                    told = True
                    self._notify(Stalled(self._cause))
                failures += 1
                if await self._again(failures):
                    failures = 0
                    if told:
                        told = False
                        self._notify(Resumed())
            elif self._ready:
                return self._take(limit)
            elif not await self._wait() and not self._absent() and not await self._through():
                return ()
        return ()

    async def _wait(self) -> bool:
        """Until there is news, or not."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                return await self._news.wait()
        return False

    async def _through(self) -> bool:
        """Whether what came before the partitions is handled, and it is their turn. Asked when nothing has come for a while."""
        feed = self._feeds.get(self._earlier.queue)
        if not self._earlier.ours or feed is None or feed.out:
            return False
        try:
            if not await self._earlier.is_through():
                return False
            self._feeds.clear()
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
            self._cause = ""
        except DestinationMissing as error:
            raise DestinationMissing(
                f"{self._subscription.name} does not exist on this broker any more: run `waybill topology apply`"
            ) from error
        except BrokerError as error:
            self._cause, self._waits = str(error), isinstance(error, Busy)
            return False
        return True

    def _take(self, limit: int) -> list[Delivery[Any]]:
        received = datetime.fromtimestamp(self._clock.time(), UTC)
        until = time.monotonic() + self._subscription.lease
        ready = self._ready
        taken = [self._delivery(ready.popleft(), received, until) for _ in range(min(limit, len(ready)))]
        if self._subscription.ordered:
            for delivery in taken:
                delivery.token.feed.out[delivery.token.tag] = delivery
        return taken

    def _delivery(self, came: Came, received: datetime, until: float) -> Delivery[Any]:
        feed, frame, header, body = came
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
            partition=feed.queue.rpartition("/")[2] if self._shape.partitions else None,
            token=Token(feed, frame.delivery_tag or 0, until),
        )

    # ---------------------------------------------------------------- settling

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        acked: dict[Feed, list[int]] = {}
        released: dict[Feed, list[int]] = {}
        results = [self._settle(item, acked, released) for item in settled]
        for feed in acked:
            feed.acknowledging = True
        gone = [feed for feed, tags in acked.items() if not await self._acknowledged(feed, tags)]
        for feed, tags in released.items():
            self._give_back(feed, tags)
        if gone:
            return [LOST if item.delivery.token.feed in gone else r for item, r in zip(settled, results, strict=True)]
        return results

    async def _acknowledged(self, feed: Feed, tags: Sequence[int]) -> bool:
        """Whether it was written. Where the channel has gone, what it delivered comes again, and that of other feeds does not."""
        try:
            with mapped("acknowledging"):
                await feed.acknowledge(tags)
        except BrokerError as error:
            log.debug("%s: %s", self._subscription.name, error)
            return False
        finally:
            feed.acknowledging = False
        self._leave_if_done(feed)
        return True

    def _give_back(self, feed: Feed, tags: Iterable[int]) -> None:
        """Of a partition all goes back at once, by leaving the channel: one by one they would come behind later ones."""
        if not self._shape.partitions:
            feed.give_back(tags)
        elif not self._quiet:
            self._lose(feed, "")

    def _settle(self, item: Settled, acked: dict[Feed, list[int]], released: dict[Feed, list[int]]) -> SettleResult:
        token: Token = item.delivery.token
        kind, feed = type(item.settlement), token.feed
        if token.settled is not None:
            return DONE if token.settled is kind else LOST
        if self._feeds.get(feed.queue) is not feed or feed.channel.is_closed:
            return LOST
        if kind not in {Ack, Release}:
            raise TypeError(f"RabbitMQ does not settle {kind.__name__} by itself")
        token.settled = kind
        feed.out.pop(token.tag, None)
        (acked if kind is Ack else released).setdefault(feed, []).append(token.tag)
        return DONE

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        """The broker has no leases but the connection, which dies when one side is silent: here each delivery has one, so
        that a process that slept for longer than that knows it before it goes on."""
        if self._line.open is None or not self._feeds:
            raise BrokerUnavailable(self._cause or "there is no connection")
        return [self._extended(delivery.token, time.monotonic()) for delivery in deliveries]

    def _extended(self, token: Token, now: float) -> ExtendResult:
        feed = token.feed
        if token.settled is not None:
            return LOST
        if self._feeds.get(feed.queue) is not feed:
            return Failed("its connection was lost")  # until its lease is over, it may finish
        if token.lease_until < now:
            token.settled = Release
            feed.out.pop(token.tag, None)
            self._give_back(feed, [token.tag])
            return LOST
        token.lease_until = now + self._subscription.lease
        return Extended(token.lease_until)
