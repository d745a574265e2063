"""What is told of one consumer: each handling once the broker has answered, and why it does not move.

To those who observe, and to the log what people must know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from waybill.errors import shown
from waybill.message import Delivery
from waybill.outcomes import Ack, DeadLetter, Lost, Settlement, SettleResult

__all__ = ["Handled", "Observers", "Troubles"]

log = logging.getLogger("waybill.observing")


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """One handling has ended and the broker has answered. `result` says whether it took the settlement."""

    delivery: Delivery[Any]
    settlement: Settlement
    result: SettleResult


class Observers:
    """Those who are told of one consumer's handlings. One that fails is logged, and hinders nobody."""

    def __init__(self, observers: Sequence[Callable[[Handled], None]], *, name: str) -> None:
        """`name`: the subscription's."""
        self._observers = observers
        self._name = name

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, handled: Handled) -> None:
        lost = isinstance(handled.result, Lost)
        if lost and isinstance(handled.settlement, Ack):
            self._warn_of_repeat(handled.delivery)
        elif not lost and isinstance(handled.settlement, DeadLetter):
            self._warn_of_dead_letter(handled.delivery, handled.settlement)
        for observe in self._observers:
            try:
                observe(handled)
            except Exception:
                log.exception("%s: an observer failed", self._name)

    def _warn_of_repeat(self, delivery: Delivery[Any]) -> None:
        log.warning(
            "%s: message %s was handled, but its lease was lost before the acknowledgement: it may be handled again",
            self._name,
            shown(delivery.message.id),
        )

    def _warn_of_dead_letter(self, delivery: Delivery[Any], letter: DeadLetter) -> None:
        message, why = shown(delivery.message.id), letter.record
        log.warning(
            "%s: message %s is a dead letter: %s: %s (waybill dlq show %s)",
            self._name,
            message,
            why.reason,
            shown(why.detail or why.error or "", 200),
            message,
        )


class Troubles:
    """Why one consumer is not moving, by who tells it: what one of its parts has got over, another may still be in."""

    def __init__(self, *, name: str) -> None:
        """`name`: the subscription's."""
        self._name = name
        self._known: dict[str, str] = {}

    def note(self, who: str, trouble: str | None) -> None:
        """`None`: it is over."""
        if trouble is None:
            self._known.pop(who, None)
        elif trouble != self._known.get(who):
            log.warning("%s: %s", self._name, trouble)
            self._known[who] = trouble

    @property
    def told(self) -> str | None:
        """All of them; `None` when nothing is known to be wrong."""
        return "; ".join(self._known.values()) or None
