"""What becomes of a message. Pure: whoever calls brings the time and the chance, and acts on the settlement.

One place decides (ADR 0003): `unhandled` before a handler is started, `failed` when it did not return.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import traceback
from datetime import UTC, datetime
from math import inf
from typing import Any

import msgspec

from waybill.adapter import Limits
from waybill.deadletters import record
from waybill.envelope import UNREADABLE
from waybill.errors import DecodeError, HandlerTimeout, Reject, RetryAfter, describe, shown
from waybill.headers import MAX_HEADERS
from waybill.message import Delivery, Message
from waybill.options import ConsumerOptions
from waybill.outcomes import DeadLetter, Defer, Settlement
from waybill.retry import GiveUp

__all__ = ["expired", "failed", "interrupted", "ordinary", "unhandled"]

log = logging.getLogger("waybill.judging")


def ordinary(delivery: Delivery[Any], most: int, limits: Limits, deadly: float = inf) -> bool:
    """Whether nothing has to be decided about a delivery before it is handled: as nearly always, and seen at a glance."""
    message = delivery.message
    return (
        delivery.attempt <= most
        and (delivery.handed_out is None or delivery.handed_out <= deadly)
        and not message.headers
        and message.attempts < most
        and message.expires is None
        and message.content_type != UNREADABLE
        and (message.body is None or len(message.body) <= limits.body_bytes)
    )


def unhandled(delivery: Delivery[Any], most: int, now: float, limits: Limits, deadly: float = inf) -> Settlement | None:
    """What becomes of a delivery without a handler; `None`: it is to be handled.

    `most`: the attempts that the subscription's policy can give at most. `now`: seconds since the epoch. `limits`: what
    its topic carries, which those who do not publish with Waybill may not have kept. `deadly`: hand-outs beyond which a
    message counts as one that kills its process.
    """
    message = delivery.message
    if unfit := _unfit(message, limits):
        return DeadLetter(record(delivery, "decode_error", now=now, detail=unfit, attempts=delivery.attempt - 1))
    if message.attempts >= most:
        detail = f"it came with {message.attempts} attempts, and has {most} here"
        return DeadLetter(record(delivery, "retries_exhausted", now=now, detail=detail, attempts=message.attempts))
    if delivery.attempt > most:
        detail = "the processes that handled it died, once more than it has attempts"
        return DeadLetter(record(delivery, "crashed", now=now, detail=detail, attempts=delivery.attempt - 1))
    if delivery.handed_out is not None and delivery.handed_out > deadly:
        detail = f"it was handed out {delivery.handed_out} times in vain: processes died of it, or gave it back"
        return DeadLetter(record(delivery, "crashed", now=now, detail=detail, attempts=delivery.attempt - 1))
    return expired(delivery, now)


def _unfit(message: Message, limits: Limits) -> str | None:
    """Why nobody should look any further into a message."""
    if message.content_type == UNREADABLE:
        return message.headers.get("unreadable", "its attributes cannot be read")
    if message.body is not None and len(message.body) > limits.body_bytes:
        return f"the body has {len(message.body)} bytes, at most {limits.body_bytes} are carried here"
    if headers := message.headers:
        if len(headers) > MAX_HEADERS:
            return f"{len(headers)} headers: at most {MAX_HEADERS} can be carried"
        length = sum(map(len, headers)) + sum(map(len, headers.values()))
        if length > limits.header_bytes:
            return f"the headers have {length} characters, at most {limits.header_bytes} bytes are carried here"
    return None


def interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C raised it and no handler: Python's own signal handler may anywhere, asyncio's does in its own code."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    own = frame.f_globals.get("__name__") == "asyncio.runners"
    return own or signal.getsignal(signal.SIGINT) is signal.default_int_handler


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
        log.exception("message %s cannot be judged by its retry policy", shown(delivery.message.id))
        return DeadLetter(record(delivery, "retries_exhausted", now=now, error=error, detail=describe(second)))


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
        # it will never decode: no retry; and no handler was started for it this time
        return DeadLetter(record(delivery, "decode_error", now=now, error=error, attempts=delivery.attempt - 1))
    first = delivery.message.first_failure or datetime.fromtimestamp(now, UTC)
    asked = error.delay if isinstance(error, RetryAfter) else None
    age = now - first.timestamp()
    decision = options.retry.decide(delivery.attempt, error, age=age, chance=chance, asked=asked)
    if isinstance(decision, GiveUp):
        return DeadLetter(record(delivery, decision.reason, now=now, error=error))
    return Defer(decision.delay, delivery.attempt, first, relaxed=options.relaxed)
