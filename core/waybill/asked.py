"""When an error itself says when to try again: `Retry-After`, as HTTP defines it (RFC 9110, section 10.2.3). Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import cast

__all__ = ["retry_after"]

HEADER = "retry-after"


def retry_after(error: BaseException, now: float) -> float | None:
    """The seconds that the error asks to wait, never negative; `None`: it does not say. `now`: seconds since the epoch.

    Looked for, in this order: an attribute `retry_after` (seconds, a timedelta, a datetime or a header's text), and a header
    `Retry-After` in `error.response.headers` or `error.headers` (seconds, or an HTTP date). Of a group of errors, the longest.
    """
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        asked = [each for one in group.exceptions if (each := retry_after(one, now)) is not None]
        return max(asked, default=None)
    try:
        said = _said(error)
        wait = None if said is None else _seconds(said, now)
    except Exception:  # noqa: BLE001 - somebody else's class, which breaks when looked at: it says nothing
        return None
    return max(0.0, wait) if wait is not None and isfinite(wait) else None


def _said(error: BaseException) -> object:
    if (given := getattr(error, "retry_after", None)) is not None:
        return given
    for holder in (getattr(error, "response", None), error):
        headers = getattr(holder, "headers", None)
        if headers is not None and hasattr(headers, "items"):
            found = [value for name, value in headers.items() if str(name).lower() == HEADER]
            if found:
                return found[0]
    return None


def _seconds(said: object, now: float) -> float | None:
    if isinstance(said, bool):
        return None
    if isinstance(said, int | float):
        return float(said)
    if isinstance(said, timedelta):
        return said.total_seconds()
    if isinstance(said, bytes):
        said = said.decode("latin-1")
    if isinstance(said, str):
        text = said.strip()
        try:
            if text.replace(".", "", 1).isdecimal():
                return float(text)
            said = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
    if isinstance(said, datetime):
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() - now
    return None
