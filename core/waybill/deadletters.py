"""The record that travels with a dead letter. Bounded, so that a huge error never keeps a letter from being written."""

from __future__ import annotations

import os
import socket
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec

from waybill.errors import describe
from waybill.message import DeadLetterRecord, Delivery, Message

__all__ = ["MAX_DETAIL", "MAX_STACK", "again", "record", "shorten"]

MAX_DETAIL = 1024
MAX_STACK = 8192
DEEPEST = 100
"""Frames that are looked at: an endless recursion has thousands."""
HOST = socket.gethostname()


def record(
    delivery: Delivery[Any],
    reason: str,
    *,
    now: float,
    error: BaseException | None = None,
    detail: str = "",
    attempts: int | None = None,
) -> DeadLetterRecord:
    """Why this delivery goes to the dead letters of its group.

    `now`: seconds since the epoch. `attempts`: handlings so far, if this delivery is not one of them.
    """
    return DeadLetterRecord(
        reason=reason,
        detail=shorten(detail or describe(error), MAX_DETAIL),
        topic=delivery.topic,
        group=delivery.group,
        attempts=delivery.attempt if attempts is None else attempts,
        at=datetime.fromtimestamp(now, UTC),
        first_failure=delivery.message.first_failure,
        error=None if error is None else f"{type(error).__module__}.{type(error).__qualname__}",
        stack=None if error is None else _stack(error),
        host=HOST,
        process=os.getpid(),
    )


def again(message: Message) -> Message:
    """A dead letter as the message that it was when it was new to the group, but for the count of redrives."""
    return msgspec.structs.replace(
        message, redrives=message.redrives + 1, attempts=0, dead=None, first_failure=None, due=None
    )


def _stack(error: BaseException) -> str | None:
    frames = traceback.format_tb(error.__traceback__, limit=-DEEPEST)
    return shorten("".join(frames), MAX_STACK, keep_end=True) if frames else None


def shorten(text: str, limit: int, *, keep_end: bool = False) -> str:
    """At most `limit` bytes of UTF-8, with a mark where something was left out."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    mark = f" … [{len(raw) - limit} bytes left out] … "
    room = limit - len(mark.encode())
    kept = raw[-room:] if keep_end else raw[:room]
    part = kept.decode("utf-8", "ignore")
    return mark.strip() + " " + part if keep_end else part + mark.rstrip()
