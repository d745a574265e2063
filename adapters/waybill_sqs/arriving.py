"""What came and is not handed out yet: messages become deliveries, in their time, and what nobody wants goes back.

A message that was handed out in vain again and again may be one that kills its process, and everybody beside it loses what he
did. So a suspect is handed out alone: when nothing else is out, and nothing else while it is. Those who come back together take
turns at being first, so that the innocent ones are handled before the other: as a rule within two of its turns.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from math import ceil
from typing import Any

import msgspec

from waybill.clock import Clock
from waybill.message import Delivery
from waybill.topology import Subscription
from waybill_sqs import records
from waybill_sqs.attempts import TRIED
from waybill_sqs.holding import Hands, Token
from waybill_sqs.limits import LONGEST_HIDE
from waybill_sqs.polling import Came, counted

__all__ = ["Arrivals", "first_suspect"]

SOON = 1.0
"""Seconds that what came before its time waits here: SQS hides by whole ones."""
SUSPECT = 3
"""Hand-outs above which a message is a suspect."""


class Arrivals:
    """Of one subscription."""

    def __init__(
        self,
        ready: deque[Came],
        out: Mapping[str, Token],
        hands: Hands,
        *,
        subscription: Subscription,
        clock: Clock,
        news: Callable[[], None],
    ) -> None:
        """`ready`: what receives bring. `out`: what is handed out and not settled, by its id on SQS. `news`: called when
        something is due."""
        self._ready = ready
        self._out = out
        self._hands = hands
        self._subscription = subscription
        self._clock = clock
        self._news = news
        self._waiting: set[Delivery[Any]] = set()
        """What came before its time."""
        self._due: deque[Delivery[Any]] = deque()
        self._suspect: Token | None = None

    @property
    def waiting(self) -> int:
        """Messages that take up room, though nobody has them."""
        return len(self._waiting)

    @property
    def unwanted(self) -> bool:
        """Whether there is something that nobody takes."""
        return bool(self._ready or self._due)

    @property
    def closed(self) -> bool:
        """Whether nothing more is to be fetched, since a suspect is out, or waits to be."""
        return self._suspect is not None or bool(self._ready and _is_suspect(self._ready[0]))

    def take(self, limit: int) -> list[Delivery[Any]]:
        if self._suspect is not None:
            if self._suspect.ident in self._out:
                return []
            self._suspect = None
        taken = [self._due.popleft() for _ in range(min(limit, len(self._due)))]
        later: list[tuple[Token, int]] = []
        now, lease = time.monotonic(), self._subscription.lease
        while self._ready and len(taken) < limit:
            suspect = _is_suspect(self._ready[0])
            if suspect and (taken or self._out):
                break
            came = first_suspect(self._ready) if suspect else self._ready[0]
            self._ready.remove(came)
            if came.lease_until < now + lease * 0.3 or (delivery := self._delivery(came)) is None:
                continue  # too late to begin it: it comes again
            if (wait := self._wait(delivery)) <= 0:
                taken.append(delivery)
            elif wait > SOON or delivery.lease_until < now + 2 * wait:
                later.append((delivery.token, ceil(wait)))
            else:
                self._waiting.add(delivery)
                asyncio.get_running_loop().call_later(wait, self._is_due, delivery)
            if suspect and taken:
                self._suspect = delivery.token
                break
        if later:
            self._hands.hide_soon(later)
        return taken

    def leave(self, *, everything: bool = False) -> list[Token]:
        """Give up what nobody has taken; `everything`: also what is not due."""
        left = [delivery for came in self._ready if (delivery := self._delivery(came)) is not None]
        left += self._due
        self._ready.clear()
        self._due.clear()
        if everything:
            left += self._waiting
            self._waiting.clear()
        return [delivery.token for delivery in left]

    def _is_due(self, delivery: Delivery[Any]) -> None:
        if delivery in self._waiting:
            self._waiting.remove(delivery)
            self._due.append(delivery)
            self._news()

    def _wait(self, delivery: Delivery[Any]) -> float:
        """Seconds until it may be handed out."""
        due = delivery.message.due
        if due is None:
            return 0.0
        msgspec.structs.force_setattr(delivery, "message", msgspec.structs.replace(delivery.message, due=None))
        return min(due.timestamp() - self._clock.time(), LONGEST_HIDE - 1)

    def _delivery(self, came: Came) -> Delivery[Any] | None:
        """`None`: it is held here already, and goes on under its newer receipt."""
        native, lease = came.native, self._subscription.lease
        received = records.received_times(native)
        token = Token(
            native["MessageId"], native["ReceiptHandle"], received, came.lease_until - counted(lease), came.lease_until
        )
        held = self._out.get(token.ident)
        if held is not None and held.settled is None and held.lease_until > time.monotonic():
            held.receipt, held.received, held.lease_until = token.receipt, received, token.lease_until
            return None
        message = records.read(native, subscription=self._subscription, now=self._clock.time())
        return Delivery(
            message=message,
            topic=self._subscription.topic.name,
            group=self._subscription.group,
            attempt=1 + TRIED.of(self._hands.where(token), message.attempts),
            redelivered=received > 1,
            handed_out=received,
            lease_until=token.lease_until,
            token=token,
            native=native,
        )


def first_suspect(ready: Collection[Came]) -> Came:
    """Which of them is handed out before the others: the first of its key, and of the keys the least or the greatest, in
    turn. Each time that they come back together they have been handed out once more, and that turns them about."""
    firsts = {_group(came) or came.native["MessageId"]: came for came in reversed(list(ready))}
    turn = max(records.received_times(came.native) for came in ready) % 2
    return firsts[max(firsts) if turn else min(firsts)]


def _is_suspect(came: Came) -> bool:
    return records.received_times(came.native) > SUSPECT


def _group(came: Came) -> str | None:
    group: str | None = came.native.get("Attributes", {}).get("MessageGroupId")
    return group
