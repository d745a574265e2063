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
from waybill.asked import retry_after
from waybill.classifying import GIVEN_UP, Kind, disposition, gravest, usual
from waybill.deadletters import record
from waybill.envelope import UNREADABLE
from waybill.errors import DecodeError, HandlerTimeout, Outcome, Reject, RetryAfter, describe, one_line, parts_of, shown
from waybill.headers import MAX_HEADERS
from waybill.message import Delivery, Message
from waybill.observing import about
from waybill.options import ConsumerOptions
from waybill.outcomes import DeadLetter, Defer, Settlement
from waybill.retry import GiveUp

__all__ = ["expired", "failed", "interrupted", "kind_of", "ordinary", "unhandled"]

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
        return _letter(delivery, "decode_error", now=now, detail=unfit, attempts=delivery.attempt - 1)
    if message.attempts >= most:
        detail = f"it came with {message.attempts} attempts, and has {most} here"
        return _letter(delivery, "retries_exhausted", now=now, detail=detail, attempts=message.attempts)
    if delivery.attempt > most:
        detail = "the processes that handled it died, once more than it has attempts"
        return _letter(delivery, "crashed", now=now, detail=detail, attempts=delivery.attempt - 1)
    if delivery.handed_out is not None and delivery.handed_out > deadly:
        detail = f"it was handed out {delivery.handed_out} times in vain: processes died of it, or gave it back"
        return _letter(delivery, "crashed", now=now, detail=detail, attempts=delivery.attempt - 1)
    return expired(delivery, now)


def _letter(
    delivery: Delivery[Any],
    reason: str,
    *,
    now: float,
    error: BaseException | None = None,
    kind: Kind | None = None,
    detail: str = "",
    attempts: int | None = None,
) -> DeadLetter:
    """The dead letters, with what that says of a redrive. `kind`: of the error."""
    why = record(delivery, reason, now=now, error=error, detail=detail, attempts=attempts)
    return DeadLetter(msgspec.structs.replace(why, disposition=disposition(reason, kind)))


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
    if not isinstance(error, KeyboardInterrupt) or error.__traceback__ is None:  # one that was only made says nothing
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
    return _letter(delivery, "expired", now=now, detail=detail, attempts=delivery.attempt - 1)


def failed(
    delivery: Delivery[Any],
    error: BaseException,
    options: ConsumerOptions,
    *,
    timed_out: bool,
    now: float,
    chance: float,
    kind: Kind | None = None,
) -> Settlement:
    """What becomes of a message whose handler raised.

    `timed_out`: whether it was cancelled for running too long. `chance`: uniform in [0, 1). `kind`: the error's, if that was
    asked already.
    """
    try:
        return _failed(delivery, error, options, timed_out=timed_out, now=now, chance=chance, kind=kind)
    except Exception as second:  # noqa: BLE001 - a policy or an error of the user's that breaks when looked at
        log.error(  # noqa: TRY400 - its text may quote what the message holds
            "message %s cannot be judged by its retry policy: %s",
            shown(delivery.message.id),
            one_line(second, lambda _: "see the dead letter"),
            extra=about(delivery),
        )
        return _letter(delivery, "retries_exhausted", now=now, error=error, detail=describe(second))


def _failed(
    delivery: Delivery[Any],
    error: BaseException,
    options: ConsumerOptions,
    *,
    timed_out: bool,
    now: float,
    chance: float,
    kind: Kind | None,
) -> Settlement:
    if isinstance(error, asyncio.CancelledError) and timed_out:
        error = HandlerTimeout(f"the handler ran longer than {options.timeout:g} s")
    parts = parts_of(error) or (error,)
    if rejections := [part for part in parts if isinstance(part, Reject)]:
        return _letter(delivery, "rejected", now=now, error=error, detail=rejections[0].reason)
    if isinstance(error, DecodeError) and delivery._value is msgspec.UNSET:
        # it will never decode: no retry; and no handler was started for it this time
        return _letter(delivery, "decode_error", now=now, error=error, attempts=delivery.attempt - 1)
    kind = kind or kind_of(error, options)
    if kind in GIVEN_UP:
        return _letter(delivery, "non_retryable", now=now, error=error, kind=kind)
    first = delivery.message.first_failure or datetime.fromtimestamp(now, UTC)
    asked = max((part.delay for part in parts if isinstance(part, RetryAfter)), default=None)
    least = retry_after(error, now) or 0.0
    age = now - first.timestamp()
    decision = options.retry.decide(delivery.attempt, error, age=age, chance=chance, asked=asked, least=least)
    if isinstance(decision, GiveUp):
        return _letter(delivery, decision.reason, now=now, error=error, kind=kind)
    return Defer(decision.delay, delivery.attempt, first, relaxed=options.relaxed)


def kind_of(error: BaseException, options: ConsumerOptions) -> Kind:
    """What the error says of its message, by the tables and the retry policy of its subscription; the gravest of a group."""
    if isinstance(error, Outcome):
        return "poison" if isinstance(error, Reject) else "transient"
    told = options.kinds.told(error)
    if told is not None:
        return told
    named = options.retry.names(error)
    if named is False:
        return "permanent"
    parts = parts_of(error)
    kind = gravest(kind_of(part, options) for part in parts) if parts else usual(error)
    return "transient" if named and kind in GIVEN_UP else kind
