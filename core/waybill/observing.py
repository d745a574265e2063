"""What is told of one consumer: each handling once the broker has answered, and why it does not move.

To those who observe, and to the log what people must know.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

from waybill.errors import shown
from waybill.message import Delivery
from waybill.outcomes import ACK, DONE, Ack, DeadLetter, Lost, Settlement, SettleResult
from waybill.redaction import redact, secrets_of

__all__ = ["Handled", "Observers", "Troubles", "about", "failing_span"]

log = logging.getLogger("waybill.observing")

failing_span: ContextVar[str | None] = ContextVar("waybill_failing_span", default=None)
"""The `traceparent` of the span in which the handler of this task has failed, where traces are kept: what is recorded of the
failure names it (`DeadLetterRecord.span`)."""


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """One handling has ended and the broker has answered. `result` says whether it took the settlement: it has where a retry's or a
    dead letter's copy is at its place, also if the original is lost then. One that is lost before it starts is a `Release`."""

    delivery: Delivery[Any]
    settlement: Settlement
    result: SettleResult


def about(delivery: Delivery[Any]) -> dict[str, Any]:
    """What a line of a log that is about it has beside its text."""
    message = delivery.message
    told = {"message_id": message.id, "topic": delivery.topic, "group": delivery.group, "attempt": delivery.attempt}
    return told if message.correlation_id is None else {**told, "correlation_id": message.correlation_id}


class Observers:
    """Those who are told of one consumer's handlings. One that fails is logged, and hinders nobody."""

    def __init__(
        self, observers: Sequence[Callable[[Handled], None]], *, name: str, marked: Collection[str] = ()
    ) -> None:
        """`name`: the subscription's. `marked`: names of headers and fields that are secret, in lower case."""
        self._observers = observers
        self._marked = marked
        self._name = name

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, handled: Handled) -> None:
        if handled.settlement is not ACK or handled.result is not DONE:
            self._warn(handled)
        for observe in self._observers:
            try:
                observe(handled)
            except Exception as error:  # noqa: BLE001 - said without what the message holds, which it may quote
                self._warn_of_observer(handled.delivery, error)

    def _warn(self, handled: Handled) -> None:
        lost = isinstance(handled.result, Lost)
        if lost and isinstance(handled.settlement, Ack):
            self._warn_of_repeat(handled.delivery)
        elif not lost and isinstance(handled.settlement, DeadLetter):
            self._warn_of_dead_letter(handled.delivery, handled.settlement)

    def _warn_of_observer(self, delivery: Delivery[Any], error: Exception) -> None:
        trace = redact("".join(traceback.format_exception(error)), secrets_of(delivery.message, self._marked))
        log.error("%s: an observer failed: %s", self._name, trace, extra=about(delivery))

    def _warn_of_repeat(self, delivery: Delivery[Any]) -> None:
        log.warning(
            "%s: message %s was handled, but its lease was lost before the acknowledgement: it may be handled again",
            self._name,
            shown(delivery.message.id),
            extra=about(delivery),
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
            extra=about(delivery),
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
