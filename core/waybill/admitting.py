"""What is done with a delivery when it comes: most are handled, a few are decided at once, and some are known here already.

A delivery that the broker hands out anew may be one that this process holds still, over a link that was cut since, or one
that it has handled, and whose acknowledgement was lost. Neither is handled a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from types import MappingProxyType
from typing import Any

import msgspec

from waybill.adapter import Capabilities, Limits
from waybill.clock import Clock
from waybill.holding import Held, Window
from waybill.judging import ordinary, unhandled
from waybill.memory import Memory, identity
from waybill.message import Delivery
from waybill.options import ConsumerOptions
from waybill.outcomes import ACK, RELEASE, Settlement
from waybill.settling import Settler
from waybill.topology import Subscription, fits
from waybill.waiting import Waiting

__all__ = ["Admission"]


class Admission:
    """Takes in what one consumer is handed out."""

    def __init__(
        self,
        subscription: Subscription,
        options: ConsumerOptions,
        *,
        can: Capabilities,
        limits: Limits,
        window: Window,
        waiting: Waiting,
        settler: Settler,
        clock: Clock,
        holder: object,
    ) -> None:
        """`holder`: whom a delivery asks for more time."""
        self._subscription = subscription
        self._limits = limits
        self._window = window
        self._waiting = waiting
        self._settler = settler
        self._memory = Memory()
        self._clock = clock
        self._holder = holder
        self._most = options.retry.most
        self._deadly = inf if can.crash_factor is None else can.crash_factor * self._most
        self._skips = bool(subscription.where) and not can.filters
        self._relaxed = subscription.ordered and options.relaxed

    def admit(self, deliveries: Sequence[Delivery[Any]], now: float) -> None:
        """Hold them, and let them wait for a handler or be settled. `now`: `time.monotonic()`."""
        helds = [
            self._held(delivery, now) for delivery in deliveries if not (delivery.redelivered and self._adopt(delivery))
        ]
        if helds:
            self._window.add(helds)
        for held in helds:
            settlement = self._decided(held)
            if settlement is not None:
                self._settler.add(held, settlement)
            else:
                self._waiting.add(held)

    def _held(self, delivery: Delivery[Any], now: float) -> Held:
        message = delivery.message
        held = Held(delivery, delivery.lease_until, since=now, handed=delivery.attempt)
        if self._relaxed and message.attempts:  # a copy that was put off, on a broker that makes copies
            msgspec.structs.force_setattr(delivery, "out_of_order", True)
        if self._subscription.ordered and not delivery.out_of_order:
            held.lane = self._lane(delivery)
        if message.headers:  # what one handler does to them is not seen by the next
            msgspec.structs.force_setattr(message, "headers", MappingProxyType(dict(message.headers)))
        msgspec.structs.force_setattr(delivery, "_holder", self._holder)
        return held

    def _lane(self, delivery: Delivery[Any]) -> str | None:
        """What orders it. Topics that fit one pattern are ordered each for itself."""
        key = delivery.message.key
        return f"{delivery.topic} {key}" if key is not None and self._subscription.topic.pattern else key

    def _adopt(self, delivery: Delivery[Any]) -> bool:
        """Whether it is held here already, over a link that was cut since. What becomes of that is settled by this one.

        Two messages that were published under one id look the same: so the other delivery is given back in the end.
        """
        it = identity(delivery.message, delivery.attempt)
        for held in self._window.held:
            if held.lost or held.lane is not None or identity(held.delivery.message, held.handed) != it:
                continue
            if held.asked or (held.outcome is ACK and self._settler.busy):
                return False  # it may be on its way: see `_was_handled` and `_is_settled_now`
            held.former = (*held.former, Held(msgspec.structs.replace(held.delivery), inf, skipped=True))
            msgspec.structs.force_setattr(held.delivery, "token", delivery.token)
            held.lease_until = delivery.lease_until
            return True
        return False

    def _decided(self, held: Held) -> Settlement | None:
        """What becomes of a delivery without any handling; `None`: it is to be handled."""
        delivery = held.delivery
        if self._skips and not fits(self._subscription.where, delivery.message.headers):
            held.skipped = True
            return ACK
        if delivery.redelivered:
            if self._was_handled(delivery):
                return ACK
            if held.lane is None and self._is_settled_now(delivery):
                held.skipped = True
                return RELEASE
        if ordinary(delivery, self._most, self._limits, self._deadly):
            return None
        return unhandled(delivery, self._most, self._clock.time(), self._limits, self._deadly)

    def remember(self, held: Held) -> None:
        """It was handled, and may come again."""
        self._memory.remember(held.delivery.message, held.handed)

    def _was_handled(self, delivery: Delivery[Any]) -> bool:
        """Whether it was handled here, and its acknowledgement was lost or is on its way still, past the end of its lease."""
        if self._memory.recall(delivery.message, delivery.attempt):
            return True
        it = identity(delivery.message, delivery.attempt)
        return self._settler.busy and any(
            held.outcome is ACK and identity(held.delivery.message, held.handed) == it for held in self._window.held
        )

    def _is_settled_now(self, delivery: Delivery[Any]) -> bool:
        """Whether the broker is being told what becomes of it under another token: it comes again, and is known by then."""
        it = identity(delivery.message, delivery.attempt)
        return any(
            held.asked and held.lane is None and identity(held.delivery.message, held.handed) == it
            for held in self._window.held
        )
