"""The record that travels with a dead letter. Bounded, so that a huge error never keeps a letter from being written.

What is secret in an error's text is not in it (`waybill.redaction`).
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import sysconfig
import traceback
from collections.abc import Collection
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any

import msgspec

from waybill.errors import describe
from waybill.ids import new_id
from waybill.message import DeadLetterRecord, Delivery, Message
from waybill.observing import failing_span
from waybill.redaction import redact, secrets_of

__all__ = ["MAX_DETAIL", "MAX_STACK", "Origin", "again", "fingerprint", "fingerprint_of", "record", "shorten"]

MAX_DETAIL = 1024
MAX_STACK = 8192
LOOKED_AT = 4
"""Times as much text is searched for secrets as is kept, so that none is cut in two."""
DEEPEST = 100
"""Frames that are looked at: an endless recursion has thousands."""
MAX_NAME = 256
"""Bytes of a class's or a frame's name."""
HOST = socket.gethostname()
ELSEWHERE = (
    *{sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}, "<frozen",
)  # fmt: skip
"""Where code lies that is installed."""


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
    secrets = secrets_of(delivery.message)
    name = None if error is None else shorten(f"{type(error).__module__}.{type(error).__qualname__}", MAX_NAME)
    frame = "" if error is None else shorten(_own_frame(error), MAX_NAME)
    return DeadLetterRecord(
        id=new_id(),
        reason=reason,
        fingerprint=fingerprint(name or reason, frame, delivery.message.type),
        detail=_safe(detail or describe(error), MAX_DETAIL, secrets),
        topic=delivery.topic,
        group=delivery.group,
        attempts=delivery.attempt if attempts is None else attempts,
        at=datetime.fromtimestamp(now, UTC),
        first_failure=delivery.message.first_failure,
        error=name,
        frame=frame,
        stack=None if error is None else _stack(error, secrets),
        library=library(),
        host=HOST,
        process=os.getpid(),
        span=failing_span.get(),
    )


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who gives a message up: what its record tells beside what is known of the handling."""

    service: str = ""
    version: str = ""
    handler: str = ""
    marked: frozenset[str] = frozenset()
    """Names of headers and fields that are secret as well (`Settings.redact`), in lower case."""

    def sign(self, record: DeadLetterRecord, delivery: Delivery[Any], place: str) -> DeadLetterRecord:
        """The record with all that. place: where the broker had the message."""
        secrets = secrets_of(delivery.message, self.marked) if self.marked else []
        return msgspec.structs.replace(
            record,
            service=self.service,
            version=self.version,
            handler=self.handler,
            place=record.place or place,
            detail=_safe(record.detail, MAX_DETAIL, secrets) if secrets else record.detail,
            stack=redact(record.stack, secrets) if secrets and record.stack else record.stack,
        )


def fingerprint(error: str, frame: str, type: str) -> str:  # noqa: A002 - the message's
    """The same for letters that failed alike. error: its class, or the reason where there was none."""
    text = f"{error}\n{frame}\n{type}".encode("utf-8", "replace")
    return hashlib.blake2s(text, digest_size=6).hexdigest()


def fingerprint_of(message: Message, record: DeadLetterRecord) -> str:
    """As the record has it, else as it would be: of one that a broker or somebody else has made."""
    return record.fingerprint or fingerprint(record.error or record.reason, record.frame, message.type)


def again(message: Message, redrive: str | None = None, *, late: datetime | None = None) -> Message:
    """A dead letter as the message that it was when it was new to the group, but for the count of redrives.

    `redrive`: the operation that brings it back. `late`: somebody wants it handled though it had expired by then, so it does not
    expire any more: else its group would only give it up once more.
    """
    over = late is not None and message.expires is not None and message.expires <= late
    return msgspec.structs.replace(
        message,
        redrives=message.redrives + 1,
        redrive_span=None,
        redrive=redrive,
        attempts=0,
        dead=None,
        first_failure=None,
        due=None,
        expires=None if over else message.expires,
    )


def _own_frame(error: BaseException) -> str:
    """The innermost frame of the service's own code; the innermost of all where none is. By name: lines move.

    Its own is the package that Waybill calls, wherever that is installed, and what is installed nowhere.
    """
    called = own = last = ""
    for frame, _ in islice(traceback.walk_tb(error.__traceback__), sys.getrecursionlimit()):
        module = str(frame.f_globals.get("__name__", "?"))
        package = module.partition(".")[0]
        last = f"{module}:{frame.f_code.co_qualname}"
        if package.startswith("waybill"):
            continue
        called = called or package
        if package == called or not frame.f_code.co_filename.startswith(ELSEWHERE):
            own = last
    return own or last


def _stack(error: BaseException, secrets: Collection[str]) -> str | None:
    frames = traceback.format_tb(error.__traceback__, limit=-DEEPEST)
    return _safe("".join(frames), MAX_STACK, secrets, keep_end=True) if frames else None


def _safe(text: str, limit: int, secrets: Collection[str], *, keep_end: bool = False) -> str:
    """Without secrets, and at most so many bytes."""
    looked_at = limit * LOOKED_AT
    cut = len(text) - looked_at
    if cut > 0:  # the rest is left out anyway
        text = text[cut:] if keep_end else text[:looked_at]
    return shorten(redact(text, secrets), limit, keep_end=keep_end, before=max(0, cut))


@cache
def library() -> str:
    """Waybill's version."""
    try:
        return version("waybill")
    except PackageNotFoundError:  # run from a folder
        return ""


def shorten(text: str, limit: int, *, keep_end: bool = False, before: int = 0) -> str:
    """At most `limit` bytes of UTF-8, with a mark where something was left out. before: so much was left out already."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit and not before:
        return raw.decode()
    mark = f" … [{len(raw) - limit + before} bytes left out] … "
    room = limit - len(mark.encode())
    kept = raw[-room:] if keep_end else raw[:room]
    part = kept.decode("utf-8", "ignore")
    return mark.strip() + " " + part if keep_end else part + mark.rstrip()
