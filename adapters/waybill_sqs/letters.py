"""Dead letters: looked at, and taken one by one. SQS can only hand out, so a look hides them from others for its time.

In a FIFO queue each letter is a group of its own: else the first ones of a key would hide all that are behind them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil
from typing import Any

from waybill.adapter import Page
from waybill.browsing import Look, Looks
from waybill.errors import DestinationMissing, missing
from waybill.message import Delivery
from waybill.outcomes import DONE, LOST, Ack, Extended, ExtendResult, Settled, SettleResult
from waybill.topology import Subscription
from waybill_sqs import records
from waybill_sqs.client import Aws
from waybill_sqs.holding import INSISTING, Hands, Token
from waybill_sqs.layout import Layout
from waybill_sqs.limits import BATCH, LONGEST_HIDE

__all__ = ["Browser", "DeadSource"]

MOST = 2000
"""Letters that one look shows."""
LOOKING = 20
"""Seconds for which a look hides what it takes, at first; it is given back when the look is over."""


async def taken(aws: Aws, url: str, limit: int, hidden_for: int) -> list[dict[str, Any]]:
    """Some that are there, not above the limit; none when there are none. The shortest wait there is asks all servers."""
    return await aws.poll(
        QueueUrl=url,
        MaxNumberOfMessages=min(limit, BATCH),
        WaitTimeSeconds=1,
        VisibilityTimeout=hidden_for,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )


async def counted(aws: Aws, url: str) -> tuple[int, int]:
    """Letters that can be had, and those that somebody holds; about."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = await aws.sqs("get_queue_attributes", "cannot count the dead letters", QueueUrl=url, AttributeNames=names)
    there, held = (int(answer["Attributes"].get(name, 0)) for name in names)
    return there, held


def token_of(native: dict[str, Any], hidden_for: int) -> Token:
    now = time.monotonic()
    return Token(
        native["MessageId"], native["ReceiptHandle"], records.received_times(native), now, now + hidden_for - 1
    )


class Browser:
    """One application's looks."""

    def __init__(self, aws: Aws, layout: Layout) -> None:
        self._aws = aws
        self._layout = layout
        self._looks: Looks[dict[str, Any]] = Looks()

    async def page(self, subscription: Subscription, after: str | None, limit: int) -> Page:
        """See `Looks.page`."""
        return await self._looks.page(
            after,
            limit,
            look=lambda: self._look(subscription),
            read=lambda native: records.read(
                native,
                subscription=subscription,
                dead=True,
                source=self._layout.queue(subscription.topic, subscription.group),
            ),
        )

    async def _look(self, subscription: Subscription) -> Look[dict[str, Any]]:
        name = self._layout.dead(subscription.topic, subscription.group)
        try:
            url = await self._aws.url(name)
        except DestinationMissing:
            return Look([], complete=True)
        found: dict[str, dict[str, Any]] = {}
        hands, begun = Hands(self._aws, url), time.monotonic()
        try:
            there, held = await counted(self._aws, url)
            while there and len(found) < min(MOST, there):
                # Where all were hidden for the same time, a longer look would find the first ones for ever.
                span = min(LOOKING + 2 * int(time.monotonic() - begun), LONGEST_HIDE)
                if not (some := await taken(self._aws, url, BATCH, span)):
                    break
                found |= {native["MessageId"]: native for native in some}
        except DestinationMissing:
            self._aws.forget(name)
            return Look([], complete=True)
        finally:
            await hands.hide([(token_of(native, LOOKING), 0) for native in found.values()], patience=INSISTING)
        letters = sorted(found.values(), key=lambda native: (records.sent_at(native), native["MessageId"]))
        return Look(letters, complete=not held and len(letters) >= there)


class DeadSource:
    """Takes the letters that there are. What is released stays hidden until the source is left, so it comes once.

    Where going through all of them takes longer than they are hidden, those released first come again: from then on letters are
    hidden for twice as long, until none comes twice.
    """

    def __init__(self, aws: Aws, layout: Layout, subscription: Subscription) -> None:
        self._aws = aws
        self._subscription = subscription
        self._name = layout.dead(subscription.topic, subscription.group)
        self._source = layout.queue(subscription.topic, subscription.group)
        self._hidden_for = ceil(subscription.lease / 2) + 1
        self._patience = self._hidden_for
        self._until = 0.0
        self._seen: dict[str, int] = {}
        """How often each message had been redriven when it was taken: one that comes back is left alone."""
        self._left: dict[str, tuple[Token, int]] = {}
        """Those that are not settled, and for how many seconds each was hidden when it came."""

    async def open(self) -> None:
        """Raises `DestinationMissing`."""
        try:
            self._url = await self._aws.url(self._name)
        except DestinationMissing as error:
            raise DestinationMissing(missing(self._subscription.name)) from error
        self._hands = Hands(self._aws, self._url)

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        while True:
            span = self._hidden_for
            found = await taken(self._aws, self._url, limit, span)
            fresh = [delivery for native in found if (delivery := self._delivery(native, span)) is not None]
            if fresh or (not found and not await self._held_by_others()):
                return fresh

    async def _held_by_others(self) -> bool:
        """Whether there are letters that will be seen again: somebody looks at them, or died when he had them."""
        self._until = self._until or time.monotonic() + self._patience
        _, held = await counted(self._aws, self._url)
        return held > len(self._left) and time.monotonic() < self._until

    def _delivery(self, native: dict[str, Any], span: int) -> Delivery[Any] | None:
        token = token_of(native, span)
        before, self._left[token.ident] = self._left.get(token.ident), (token, span)
        if before is not None and before[1] >= self._hidden_for:
            self._hidden_for = min(2 * self._hidden_for, LONGEST_HIDE)
        message = records.read(native, subscription=self._subscription, dead=True, source=self._source)
        if before is not None or self._seen.setdefault(message.id, message.redrives) < message.redrives:
            return None
        return Delivery(
            message=message,
            topic=self._subscription.topic.name,
            group=self._subscription.group,
            lease_until=token.lease_until,
            token=token,
            native=native,
        )

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        results: list[SettleResult] = []
        gone: list[int] = []
        for place, item in enumerate(settled):
            token: Token = item.delivery.token
            kind = type(item.settlement)
            results.append(DONE if token.settled in {None, kind} else LOST)
            if token.settled is None and kind is Ack:
                gone.append(place)
            token.settled = token.settled or kind
        deleted = await self._hands.delete([settled[place].delivery.token for place in gone], patience=INSISTING)
        for place, result in zip(gone, deleted, strict=True):
            token = settled[place].delivery.token
            results[place] = result
            if result is DONE or result is LOST:
                self._left.pop(token.ident, None)
            else:
                token.settled = None
        return results

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        now = time.monotonic()
        tokens: list[Token] = [delivery.token for delivery in deliveries]
        renewed = await self._hands.hide([(token, self._hidden_for) for token in tokens])
        results: list[ExtendResult] = []
        for token, result in zip(tokens, renewed, strict=True):
            if result is DONE:
                token.lease_until = now + self._hidden_for
                results.append(Extended(token.lease_until))
            else:
                results.append(LOST if result is LOST else result)  # type: ignore[arg-type]
        return results

    async def quiesce(self) -> None:
        pass  # `receive` waits for a second at most

    async def close(self) -> None:
        """Give back what is left."""
        await self._hands.hide([(token, 0) for token, _ in self._left.values()], patience=INSISTING)
