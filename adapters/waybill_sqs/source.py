"""Ways out: what a group's queue hands out, kept for as long as it is handled, and settled in bulk."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from typing import Any

import msgspec

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
from waybill_sqs import records
from waybill_sqs.attempts import TRIED
from waybill_sqs.client import Aws
from waybill_sqs.holding import Hands, Token
from waybill_sqs.layout import Layout
from waybill_sqs.limits import BATCH, LONGEST_HIDE
from waybill_sqs.polling import Came, Receivers, seconds

__all__ = ["SqsSource"]

SOON = 1.0
"""Seconds that what came before its time waits here: SQS hides by whole ones."""
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
        self._out: dict[str, Token] = {}
        """What was handed out and is not settled, by its id on SQS."""
        self._news = asyncio.Event()
        self._quiet = asyncio.Event()
        self._receiving = False
        self._unwanted: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[Any]] = set()
        self._settled_last = 0.0
        self._waiting: set[Delivery[Any]] = set()
        """What came before its time, and waits here for the rest of it."""
        self._due: deque[Delivery[Any]] = deque()
        """What of it is due."""

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
            self._give_back_ready()
            now = time.monotonic()
            left = [token for token in self._out.values() if token.settled is None and token.lease_until > now]
            left += [delivery.token for delivery in (*self._waiting, *self._due)]
            self._out.clear()
            if left:
                self._return(left)
            if self._returning:
                await asyncio.wait(self._returning)

    # ---------------------------------------------------------------- receiving

    def _on_news(self) -> None:
        self._news.set()
        if not self._receiving and (self._receivers.ready or self._due) and self._unwanted is None:
            patience = min(PATIENCE, self._subscription.lease / 3)
            self._unwanted = asyncio.get_running_loop().call_later(patience, self._give_back_ready)

    def _give_back_ready(self) -> None:
        """What came when nobody wanted it any more."""
        self._unwanted = None
        ready, self._receivers.ready = list(self._receivers.ready), type(self._receivers.ready)()
        unwanted = [delivery for came in ready if (delivery := self._delivery(came)) is not None]
        unwanted += self._due
        self._due.clear()
        if unwanted:
            self._return([delivery.token for delivery in unwanted])

    def _return(self, tokens: Sequence[Token]) -> None:
        self._hide([(token, 0) for token in tokens])

    def _hide(self, changes: Sequence[tuple[Token, int]]) -> None:
        hiding = asyncio.get_running_loop().create_task(self._hands.hide(changes))
        self._returning.add(hiding)
        hiding.add_done_callback(self._returning.discard)

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        self._receiving = True
        if self._unwanted is not None:
            self._unwanted.cancel()
            self._unwanted = None
        try:
            return await self._receive(limit)
        finally:
            self._receiving = False
            if self._receivers.ready:
                self._on_news()

    async def _receive(self, limit: int) -> Sequence[Delivery[Any]]:
        failures = 0
        end = time.monotonic() + PATIENCE
        while True:
            if deliveries := self._take(limit):
                break
            if self._quiet.is_set() and not self._receivers.polling:
                return ()
            failures = await self._look(failures)
            room = limit - len(self._waiting)
            wait = 0.0 if self._quiet.is_set() else self._receivers.ask(room)
            self._news.clear()
            now = time.monotonic()
            if not failures and not self._quiet.is_set() and now > end:
                return ()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait or PATIENCE):
                    await self._news.wait()
        if failures:
            self._notify(Resumed())
        if not self._quiet.is_set():
            self._receivers.ask(limit - len(deliveries) - len(self._waiting))
        return deliveries

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

    def _take(self, limit: int) -> list[Delivery[Any]]:
        ready = self._receivers.ready
        taken = [self._due.popleft() for _ in range(min(limit, len(self._due)))]
        later: list[tuple[Token, int]] = []
        now = time.monotonic()
        while ready and len(taken) < limit:
            came = ready.popleft()
            if came.lease_until < now + self._lease * 0.3 or (delivery := self._delivery(came)) is None:
                continue  # too late to begin it: it comes again
            if (wait := self._wait(delivery)) <= 0:
                taken.append(delivery)
            elif wait > SOON or delivery.lease_until < now + 2 * wait:
                later.append((delivery.token, ceil(wait)))
            else:
                self._waiting.add(delivery)
                asyncio.get_running_loop().call_later(wait, self._is_due, delivery)
        if later:
            self._hide(later)
        for delivery in taken:
            self._out[delivery.token.ident] = delivery.token
        return taken

    def _is_due(self, delivery: Delivery[Any]) -> None:
        if delivery in self._waiting:
            self._waiting.remove(delivery)
            self._due.append(delivery)
            self._on_news()

    def _wait(self, delivery: Delivery[Any]) -> float:
        """Seconds until it may be handed out."""
        due = delivery.message.due
        if due is None:
            return 0.0
        msgspec.structs.force_setattr(delivery, "message", msgspec.structs.replace(delivery.message, due=None))
        return min(due.timestamp() - self._clock.time(), LONGEST_HIDE - 1)

    def _token(self, came: Came) -> Token:
        native = came.native
        return Token(
            native["MessageId"],
            native["ReceiptHandle"],
            records.received_times(native),
            came.lease_until - self._lease,
            came.lease_until,
        )

    def _delivery(self, came: Came) -> Delivery[Any] | None:
        """`None`: it is held here already, and goes on under its newer receipt."""
        token = self._token(came)
        held = self._out.get(token.ident)
        if held is not None and held.settled is None and held.lease_until > time.monotonic():
            held.receipt, held.received, held.lease_until = token.receipt, token.received, token.lease_until
            return None
        subscription = self._subscription
        message = records.read(came.native, subscription=subscription, now=self._clock.time())
        return Delivery(
            message=message,
            topic=subscription.topic.name,
            group=subscription.group,
            attempt=1 + TRIED.of(self._hands.where(token), message.attempts),
            redelivered=token.received > 1,
            handed_out=token.received,
            lease_until=token.lease_until,
            token=token,
            native=came.native,
        )

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
        end = self._settled_last + self._aws.table.settle_linger
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
            self._out.pop(token.ident, None)
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
        if self._out.get(token.ident) is token:
            del self._out[token.ident]
        return result

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
                self._out.pop(token.ident, None)
                results[place] = LOST
            else:
                token.lease_until = begun + self._lease
                results[place] = Extended(token.lease_until)
        return [result or LOST for result in results]

    def _kept(self, token: Token, now: float) -> ExtendResult | None:
        """What is known without asking; `None`: it is to be renewed. What has come just now need not be yet."""
        if token.settled is not None:
            return LOST
        if token.lease_until < now:
            self._out.pop(token.ident, None)
            token.settled = Release
            return LOST
        fresh = token.lease_until - now > self._lease * 0.7
        return Extended(token.lease_until) if fresh else None


def _is(item: Settled, kind: type[Any]) -> bool:
    return isinstance(item.settlement, kind)
