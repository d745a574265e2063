"""Who did what to which letter, and why. Lines are added and never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

from waybill.dlq.choosing import prefixed
from waybill.dlq.model import Action, Entry, Key, State
from waybill.dlq.numbers import as_time, instant
from waybill.redaction import redact

__all__ = ["keys_of", "read", "summarise", "write"]

SQL = (
    "INSERT INTO audit (at, by, verb, why, operation, topic, consumers, id, before, after, count) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def write(
    connection: sqlite3.Connection,
    verb: str,
    action: Action,
    changes: Iterable[tuple[Key, State | None, State]],
    now: datetime,
) -> None:
    """A line for each letter."""
    at, why = instant(now), redact(action.why)
    connection.executemany(
        SQL,
        (
            (at, action.by, verb, why, action.operation, *key, "" if before is None else before.value, after.value, 1)
            for key, before, after in changes
        ),
    )


def summarise(
    connection: sqlite3.Connection, verb: str, action: Action, *, topic: str, group: str, count: int, now: datetime
) -> None:
    """One line for many letters, or for none."""
    values = (instant(now), action.by, verb, redact(action.why), action.operation, topic, group, "", "", "", count)
    connection.execute(SQL, values)


def read(
    connection: sqlite3.Connection, *, key: Key | None, operation: str | None, after: int | None, limit: int
) -> Sequence[Entry]:
    where, values = ["number < ?"], list[object]([after if after is not None else (1 << 62)])
    if key is not None:
        where.append("topic = ? AND consumers = ? AND id = ? AND id != ''")
        values += key
    if operation is not None:
        where.append("operation = ? AND operation != ''")
        values.append(operation)
    rows = connection.execute(
        "SELECT number, at, by, verb, why, operation, topic, consumers, id, before, after, count FROM audit "
        f"WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?",
        (*values, limit),
    )
    return [_entry(*row) for row in rows]


def keys_of(connection: sqlite3.Connection, beginning: str, most: int) -> Sequence[Key]:
    """Some of the letters that have a line and whose ids begin so, be they in the index still or not. A whole id comes first."""
    condition, values = prefixed("id", beginning)
    rows = connection.execute(
        f"SELECT DISTINCT topic, consumers, id FROM audit WHERE id != '' AND {condition} ORDER BY id LIMIT ?",
        (*values, most),
    )
    return [Key(*row) for row in rows]


def _entry(number: int, at: int, *rest: str | int) -> Entry:
    names = ("by", "verb", "why", "operation", "topic", "group", "id", "before", "after", "count")
    return Entry(number=number, at=as_time(at), **dict(zip(names, rest, strict=True)))  # type: ignore[arg-type]
