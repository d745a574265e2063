"""Ways out: what a group's queue hands out, kept for as long as it is handled, and settled in bulk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from waybill.adapter import Notify, Resumed, Stalled
from waybill.clock import Clock
from waybill.errors import BrokerUnavailable, DestinationMissing, missing
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
    SettleResult,
)
from waybill.settling import back_off
from waybill.topology import Subscription
from waybill_sqs.arriving import Arrivals
from waybill_sqs.attempts import TRIED
from waybill_sqs.client import Aws
from waybill_sqs.holding import Hands, Token
from waybill_sqs.layout import Layout
from waybill_sqs.limits import BATCH
from waybill_sqs.polling import Receivers, counted, seconds

__all__ = ["SqsSource"]

FIFO_LINGER = 0.02
"""Seconds that a delete may wait for others to share a call with, while its key is held by it."""
SLICE = 0.01
"""Seconds after which is looked whether somebody waits for room."""
PATIENCE = 1.0
"""Seconds that `receive` waits for something."""
LAST = 1.0
"""Seconds that receives are given to come back when the source is left."""


class SqsSource:
    """One subscription's queue."""

    def __init__(self, aws: Aws, layout: Layout, subscription: Subscription, clock: Clock, notify: Notify) -> None:
        self._aws = aws
        self._subscription = subscription
        self._clock = clock
        self._notify = notify
        self._name = layout.queue(subscription.topic, subscription.group)
        self._fifo = layout.kind(subscription.topic).fifo
        self._lease = subscription.lease
        linger = aws.table.settle_linger
        self._linger = min(linger, FIFO_LINGER) if self._fifo else linger
        self._out: dict[str, Token] = {}
        """What was handed out and is not settled, by its id on SQS."""
        self._news = asyncio.Event()
        self._quiet = asyncio.Event()
        self._receiving = False
        self._unwanted: asyncio.TimerHandle | None = None
        self._settled_last = 0.0

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        """Raises `DestinationMissing`."""
        try:
            self._aws.forget(self._name)
            url = await self._aws.url(self._name)
        except DestinationMissing as error:
            raise DestinationMissing(missing(self._subscription.name)) from error
        self._hands = Hands(self._aws, url)
        self._receivers = Receivers(self._aws, url, lease=self._lease, fifo=self._fifo, news=self._on_news)
        self._arrivals = Arrivals(
            self._receivers.ready,
            self._out,
            self._hands,
            subscription=self._subscription,
            clock=self._clock,
            news=self._on_news,
        )

    async def quiesce(self) -> None:
        self._quiet.set()
        self._news.set()

    async def close(self) -> None:
        """Give back what was not settled, and what comes at the very end."""
        self._quiet.set()
        if self._unwanted is not None:
            self._unwanted.cancel()
        try:
            await self._receivers.finish(LAST)
        finally:
            now = time.monotonic()
            left = [token for token in self._out.values() if token.settled is None and token.lease_until > now]
            self._hands.give_back_soon([*left, *self._arrivals.leave(everything=True)])
            self._out.clear()
            await self._hands.finish()

    # ---------------------------------------------------------------- receiving

    def _on_news(self) -> None:
        self._news.set()
        if not self._receiving and self._arrivals.unwanted and self._unwanted is None:
            patience = min(PATIENCE, self._subscription.lease / 3)
            self._unwanted = asyncio.get_running_loop().call_later(patience, self._give_back)

    def _give_back(self) -> None:
        """What came when nobody wanted it any more."""
        self._unwanted = None
        self._hands.give_back_soon(self._arrivals.leave())

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        self._receiving = True
        if self._unwanted is not None:
            self._unwanted.cancel()
            self._unwanted = None
        try:
            return await self._receive(limit)
        finally:
            self._receiving = False
            if self._arrivals.unwanted:
                self._on_news()

    async def _receive(self, limit: int) -> Sequence[Delivery[Any]]:
        failures = 0
        end = time.monotonic() + PATIENCE
        while True:
            if deliveries := self._arrivals.take(limit):
                break
            if self._quiet.is_set() and not self._receivers.polling:
                return ()
            failures = await self._look(failures)
            wait = self._ask(limit)
            self._news.clear()
            now = time.monotonic()
            if not failures and not self._quiet.is_set() and now > end:
                return ()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait or PATIENCE):
                    await self._news.wait()
        if failures:
            self._notify(Resumed())
        self._out.update((delivery.token.ident, delivery.token) for delivery in deliveries)
        self._ask(limit - len(deliveries))
        return deliveries

    def _ask(self, room: int) -> float:
        """See `Receivers.ask`."""
        if self._quiet.is_set() or self._arrivals.closed:
            return 0.0
        return self._receivers.ask(room - self._arrivals.waiting)

    async def _look(self, failures: int) -> int:
        """How many receives have failed in a row, after a pause if one just has. Raises `DestinationMissing`."""
        error = self._receivers.error
        if error is None or self._quiet.is_set():
            if failures and self._receivers.well:
                self._notify(Resumed())
                return 0
            return failures
        if isinstance(error, DestinationMissing):
            raise DestinationMissing(
                f"{self._subscription.name} does not exist on this broker any more: run `waybill topology apply`"
            ) from error
        self._receivers.error = None
        if not failures:
            self._notify(Stalled(str(error)))
        with suppress(TimeoutError):
            async with asyncio.timeout(back_off(failures + 1)):
                await self._quiet.wait()
        return failures + 1

    # ---------------------------------------------------------------- settling

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        now = time.monotonic()
        results: list[SettleResult | None] = [self._known(item, now) for item in settled]
        acks = [place for place, result in enumerate(results) if result is None and _is(settled[place], Ack)]
        changes = [place for place, result in enumerate(results) if result is None and not _is(settled[place], Ack)]
        if changes:
            for place in changes:
                self._release(settled[place])
            tokens = [settled[place].delivery.token for place in changes]
            for place, result in zip(changes, await self._hands.hide([(t, 0) for t in tokens]), strict=True):
                results[place] = self._done(settled[place], result)
        if acks:
            await self._gather(len(acks))
            tokens = [settled[place].delivery.token for place in acks]
            for place, result in zip(acks, await self._hands.delete(tokens), strict=True):
                results[place] = self._done(settled[place], result)
        return [result or LOST for result in results]

    async def _gather(self, number: int) -> None:
        """Under load, let some more be handled, so that they share a call; but nobody waits for room meanwhile."""
        end = self._settled_last + self._linger
        while number < BATCH and self._receiving and not self._quiet.is_set() and (wait := end - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, SLICE)):
                    await self._quiet.wait()
        self._settled_last = time.monotonic()

    def _known(self, item: Settled, now: float) -> SettleResult | None:
        """What is known without asking; `None`: it is to be settled."""
        token: Token = item.delivery.token
        if token.settled is not None:
            return DONE if token.settled is type(item.settlement) else LOST
        if token.lease_until < now:  # whatever SQS says of it: somebody else may have it
            self._forget(token)
            token.settled = Release
            return LOST
        return None

    def _release(self, item: Settled) -> None:
        settlement = item.settlement
        if not isinstance(settlement, Release):
            raise TypeError(f"SQS does not settle {type(settlement).__name__} by itself")
        if settlement.attempts is not None:
            TRIED.note(self._hands.where(item.delivery.token), settlement.attempts)

    def _done(self, item: Settled, result: SettleResult) -> SettleResult:
        if isinstance(result, Failed):
            return result
        token: Token = item.delivery.token
        token.settled = type(item.settlement)
        self._forget(token)
        if not self._out and self._arrivals.closed:
            self._news.set()
        return result

    def _forget(self, token: Token) -> None:
        """It is out no more; the same message may be, handed out once more."""
        if self._out.get(token.ident) is token:
            del self._out[token.ident]

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        now, hidden_for = time.monotonic(), seconds(self._lease)
        if not deliveries and self._receivers.error is not None:
            raise BrokerUnavailable(str(self._receivers.error))
        results: list[ExtendResult | None] = [self._kept(delivery.token, now) for delivery in deliveries]
        places = [place for place, result in enumerate(results) if result is None]
        begun = time.monotonic()
        changes = [(deliveries[place].token, hidden_for) for place in places]
        for place, result in zip(places, await self._hands.hide(changes), strict=True):
            token: Token = deliveries[place].token
            if isinstance(result, Failed):
                results[place] = result
            elif result is LOST:
                self._forget(token)
                results[place] = LOST
            else:
                token.lease_until = begun + counted(self._lease)
                results[place] = Extended(token.lease_until)
        return [result or LOST for result in results]

    def _kept(self, token: Token, now: float) -> ExtendResult | None:
        """What is known without asking; `None`: it is to be renewed. What has come just now need not be yet."""
        if token.settled is not None:
            return LOST
        if token.lease_until < now:
            self._forget(token)
            token.settled = Release
            return LOST
        fresh = token.lease_until - now > counted(self._lease) - self._lease * 0.3
        return Extended(token.lease_until) if fresh else None


def _is(item: Settled, kind: type[Any]) -> bool:
    return isinstance(item.settlement, kind)
