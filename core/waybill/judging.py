"""What becomes of a message. Pure: whoever calls brings the time and the chance, and acts on the settlement.

One place decides (ADR 0003): `unhandled` before a handler is started, `failed` when it did not return.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from waybill.deadletters import record
from waybill.errors import DecodeError, HandlerTimeout, Reject, RetryAfter
from waybill.message import Delivery
from waybill.options import ConsumerOptions
from waybill.outcomes import DeadLetter, Defer, Settlement
from waybill.retry import GiveUp

__all__ = ["expired", "failed", "unhandled"]

log = logging.getLogger("waybill.judging")


def unhandled(delivery: Delivery[Any], most: int, now: float) -> Settlement | None:
    """What becomes of a delivery without a handler; `None`: it is to be handled.

    `most`: the attempts that the subscription's policy can give at most. `now`: seconds since the epoch.
    """
    if delivery.attempt > most:
        detail = "the processes that handled it died, once more than it has attempts"
        return DeadLetter(record(delivery, "crashed", now=now, detail=detail, attempts=delivery.attempt - 1))
    return expired(delivery, now)


def expired(delivery: Delivery[Any], now: float) -> Settlement | None:
    """The dead letters, if its time is over."""
    expires = delivery.message.expires
    if expires is None or expires.timestamp() >= now:
        return None
    detail = f"it was to be handled by {expires.isoformat()}"
    return DeadLetter(record(delivery, "expired", now=now, detail=detail, attempts=delivery.attempt - 1))


def failed(
    delivery: Delivery[Any],
    error: BaseException,
    options: ConsumerOptions,
    *,
    timed_out: bool,
    now: float,
    chance: float,
) -> Settlement:
    """What becomes of a message whose handler raised.

    `timed_out`: whether it was cancelled for running too long. `chance`: uniform in [0, 1).
    """
    try:
        return _failed(delivery, error, options, timed_out=timed_out, now=now, chance=chance)
    except Exception as second:  # a policy or an error of the user's that breaks when looked at
        log.exception("message %s cannot be judged by its retry policy", delivery.message.id)
        return DeadLetter(record(delivery, "retries_exhausted", now=now, error=error, detail=repr(second)))


def _failed(
    delivery: Delivery[Any],
    error: BaseException,
    options: ConsumerOptions,
    *,
    timed_out: bool,
    now: float,
    chance: float,
) -> Settlement:
    if isinstance(error, asyncio.CancelledError) and timed_out:
        error = HandlerTimeout(f"the handler ran longer than {options.timeout:g} s")
    if isinstance(error, Reject):
        return DeadLetter(record(delivery, "rejected", now=now, error=error, detail=error.reason))
    if isinstance(error, DecodeError) and delivery._value is msgspec.UNSET:
        return DeadLetter(record(delivery, "decode_error", now=now, error=error))  # will never decode: no retry
    first = delivery.message.first_failure or datetime.fromtimestamp(now, UTC)
    asked = error.delay if isinstance(error, RetryAfter) else None
    age = now - first.timestamp()
    decision = options.retry.decide(delivery.attempt, error, age=age, chance=chance, asked=asked)
    if isinstance(decision, GiveUp):
        return DeadLetter(record(delivery, decision.reason, now=now, error=error))
    return Defer(decision.delay, delivery.attempt, first, relaxed=options.relaxed)
