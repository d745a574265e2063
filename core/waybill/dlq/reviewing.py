"""From state to state, by the rule of `model.NEXT`: reviews by people, and operations that have claimed letters.

Each change of a letter has its line in the audit, in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from waybill.dlq.auditing import write
from waybill.dlq.model import CLAIMABLE, NEXT, OWNED, Action, Key, State
from waybill.dlq.numbers import instant
from waybill.dlq.operation import ENDED, UNDECIDED
from waybill.dlq.states import DONE_WITH, NUMBER, STATES, numbers
from waybill.redaction import redact

__all__ = ["advance", "claim", "forget", "forget_operations", "review"]


class Row(NamedTuple):
    key: Key
    number: int
    state: State
    operation: int
    gone: bool


def review(
    connection: sqlite3.Connection,
    keys: Sequence[Key],
    to: State,
    action: Action,
    *,
    owner: str | None,
    ticket: str | None,
    note: str | None,
    now: datetime,
) -> list[Key]:
    moved = [
        row
        for row in _rows(connection, keys)
        if to in NEXT[row.state] and row.state not in OWNED and not (to is State.UNRESOLVED and row.gone)
    ]
    _move(connection, moved, to, action, verb=to.value, now=now)
    numbers = [row.number for row in moved]
    if owner is not None:
        _set(connection, "letters", numbers, owner=_name(connection, owner))
    if ticket is not None:
        _set(connection, "details", numbers, ticket=ticket)
    if note is not None:
        _set(connection, "details", numbers, note=redact(note))
    return [row.key for row in moved]


def claim(
    connection: sqlite3.Connection, keys: Sequence[Key], operation: str, action: Action, now: datetime
) -> list[Key]:
    number = _name(connection, operation)
    rows = list(_rows(connection, keys))
    free = [row for row in rows if row.state in CLAIMABLE and not row.gone]
    _move(connection, free, State.REDRIVING, action, verb="claim", now=now, operation=number)
    mine = {row.key for row in free}
    return [row.key for row in rows if row.key in mine or (row.state is State.REDRIVING and row.operation == number)]


def advance(
    connection: sqlite3.Connection, keys: Sequence[Key], operation: str, to: State, action: Action, *, now: datetime
) -> list[Key]:
    number = _name(connection, operation)
    own = [row for row in _rows(connection, keys) if row.operation == number]
    moved = [row for row in own if row.state in OWNED and row.state is not to and to in NEXT[row.state]]
    gone = [row for row in moved if row.gone and to is State.UNRESOLVED]  # seen to be, while it was the operation's
    _move(connection, [row for row in moved if row not in gone], to, action, verb=to.value, now=now)
    _move(connection, gone, State.ARCHIVED, action, verb="gone", now=now)
    there = {row.key for row in moved}
    return [row.key for row in own if row.key in there or row.state is to]


def forget(connection: sqlite3.Connection, topic: str, group: str, before: datetime, limit: int) -> int:
    """Take away some of the group's that are done with and gone since before then. Their lines of the audit stay."""
    found = connection.execute(
        "SELECT l.number FROM places p JOIN groups g ON g.place = p.id CROSS JOIN letters l INDEXED BY letters_by_group "
        f"ON l.cluster = g.id AND l.state IN ({numbers(DONE_WITH)}) JOIN details d USING (number) "
        "WHERE p.topic = ? AND p.consumers = ? AND l.gone > 0 AND d.changed < ? LIMIT ?",
        (topic, group, instant(before), limit),
    ).fetchall()
    connection.executemany("DELETE FROM words WHERE rowid = ?", found)
    connection.executemany("DELETE FROM letters WHERE number = ?", found)
    return len(found)


def forget_operations(connection: sqlite3.Connection, topic: str, group: str, before: datetime, limit: int) -> int:
    """Take away some of what is kept of the group's operations that have ended before then: what each of their letters came to, and
    the bodies that were sent instead of edited ones. Not of one that waits to hear of a letter still, nor
    of one whose letter came back, as was told, and is not seen yet."""
    found = connection.execute(
        f"SELECT number, id FROM operation WHERE topic = ? AND grp = ? AND state IN ({_texts(ENDED)}) AND changed < ? "
        "AND NOT EXISTS (SELECT 1 FROM move INDEXED BY move_by_step "
        f"WHERE operation = operation.number AND step IN ({_texts(UNDECIDED)})) "
        "AND NOT EXISTS (SELECT 1 FROM move m INDEXED BY move_by_step JOIN details d ON d.id = m.id "
        "JOIN letters l ON l.number = d.number JOIN names n ON n.id = l.operation WHERE m.operation = operation.number AND m.step = 'came_back' "
        f"AND l.state IN ({numbers(OWNED)}) AND n.name = operation.id) LIMIT 1",
        (topic, group, before.astimezone(UTC).isoformat()),
    ).fetchone()
    if found is None:
        return 0
    number, ident = found
    moves = connection.execute(
        "DELETE FROM move WHERE number IN "
        "(SELECT number FROM move INDEXED BY move_by_step WHERE operation = ? ORDER BY step LIMIT ?)",  # came_back first
        (number, limit),
    ).rowcount
    if moves < limit:
        connection.execute("DELETE FROM told WHERE operation = ?", (ident,))
        connection.execute("DELETE FROM operation WHERE number = ?", (number,))
    return max(1, moves)


def _texts(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


def _rows(connection: sqlite3.Connection, keys: Sequence[Key]) -> Iterator[Row]:
    """Those there are, each once."""
    places: dict[tuple[str, str], dict[str, Key]] = {}
    for key in keys:
        places.setdefault((key.topic, key.group), {})[key.id] = key
    for place, of_place in places.items():
        found = connection.execute(
            "SELECT d.id, l.number, l.state, l.operation, l.gone FROM json_each(?) AS asked CROSS JOIN places p "
            "CROSS JOIN details d ON d.id = asked.value AND d.place = p.id CROSS JOIN letters l USING (number) "
            "WHERE p.topic = ? AND p.consumers = ?",
            (msgspec.json.encode(list(of_place)).decode(), *place),
        ).fetchall()
        for id_, number, state, operation, gone in found:
            yield Row(of_place[id_], number, STATES[state], operation, bool(gone))


def _move(
    connection: sqlite3.Connection,
    rows: Sequence[Row],
    to: State,
    action: Action,
    *,
    verb: str,
    now: datetime,
    **also: object,
) -> None:
    """Those that are not there yet; with whatever `also` changes in `letters`."""
    numbers = [row.number for row in rows if row.state is not to]
    _set(connection, "letters", numbers, state=NUMBER[to], **also)
    _set(connection, "details", numbers, changed=instant(now))
    write(connection, verb, action, ((row.key, row.state, to) for row in rows), now)


def _set(connection: sqlite3.Connection, table: str, numbers: Sequence[int], **values: object) -> None:
    columns = ", ".join(f"{name} = ?" for name in values)
    sql = f"UPDATE {table} SET {columns} WHERE number IN (SELECT value FROM json_each(?))"
    connection.execute(sql, (*values.values(), msgspec.json.encode(numbers).decode()))


def _name(connection: sqlite3.Connection, name: str) -> int:
    connection.execute("INSERT INTO names (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    number: int = connection.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()[0]
    return number
