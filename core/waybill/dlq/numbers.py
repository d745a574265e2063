"""Numbers that have the order of time: milliseconds since the epoch, and a count of those of one millisecond."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

__all__ = ["as_time", "instant", "number_from", "unused"]

BITS = 20
"""Of the count: a million letters of one millisecond."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = (1 << 63 - BITS) - 2
"""The last millisecond that has a number, in 2248. Who says a later time, or one before 1970, is put at the end."""


def number_from(at: datetime) -> int:
    """The first number of that millisecond."""
    return min(max(0, (at - EPOCH) // timedelta(milliseconds=1)), LAST) << BITS


def unused(connection: sqlite3.Connection, at: datetime) -> int:
    """The next number of that millisecond, or of the next that has one."""
    first = number_from(at)
    while True:
        beyond = first + (1 << BITS)
        sql = "SELECT max(number) FROM letters WHERE number >= ? AND number < ?"
        last = connection.execute(sql, (first, beyond)).fetchone()[0]
        number: int = first if last is None else last + 1
        if number < beyond:
            return number
        first = beyond


def instant(at: datetime) -> int:
    """Microseconds since the epoch, as the tables hold times."""
    return (at - EPOCH) // timedelta(microseconds=1)


def as_time(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
