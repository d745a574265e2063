"""Rows of the index as letters and groups."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from waybill.dlq.choosing import groups_like
from waybill.dlq.filing import read_record
from waybill.dlq.model import OPEN, Group, Groups, Key, Letter, Query, State
from waybill.dlq.numbers import BITS, as_time
from waybill.dlq.states import NUMBER, STATES, numbers

__all__ = ["groups", "letters", "oldest", "tally"]

COLUMNS = (
    "l.number, p.topic, p.consumers, d.id, l.state, g.type, g.fingerprint, d.key, d.record, d.redrives, d.expires, "
    "d.visits, d.came_back, o.name, d.ticket, d.note, r.name, d.changed, l.gone"
)
SOURCES = (
    "letters l JOIN details d USING (number) JOIN groups g ON g.id = l.cluster JOIN places p ON p.id = g.place "
    "JOIN names o ON o.id = l.owner JOIN names r ON r.id = l.operation"
)


def letters(connection: sqlite3.Connection, found: Sequence[int]) -> list[Letter]:
    """The letters of these numbers, in that order."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM {SOURCES} WHERE l.number IN ({','.join(map(str, found))})")
    by_number = {row[0]: _letter(row) for row in rows}
    return [by_number[number] for number in found if number in by_number]


def _letter(row: Sequence[Any]) -> Letter:
    (number, topic, group, id_, state, type_, fingerprint, key, record, redrives, expires, visits, came_back, owner, ticket,
     note, operation, changed, gone) = row  # fmt: skip
    return Letter(
        number=number,
        key=Key(topic, group, id_),
        state=STATES[state],
        type=type_,
        fingerprint=fingerprint,
        message_key=key,
        record=read_record(record),
        redrives=redrives,
        expires=None if expires is None else as_time(expires),
        visits=visits,
        came_back=bool(came_back),
        owner=owner,
        ticket=ticket,
        note=note,
        operation=operation,
        changed=as_time(changed),
        gone=as_time(gone) if gone else None,
    )


def groups(connection: sqlite3.Connection, query: Query, *, after: str | None, limit: int) -> Groups:
    conditions, values = groups_like(query) or ("TRUE", [])
    if query.states == OPEN:
        conditions += " AND g.open > 0"
    else:
        conditions += (
            f" AND EXISTS (SELECT 1 FROM tallies t WHERE t.cluster = g.id AND t.state IN ({numbers(query.states)}) "
            "AND t.count > 0)"
        )
    if after is not None:
        conditions += " AND (g.open, g.id) < (?, ?)"
        values += map(int, after.split("."))
    way = "INDEXED BY groups_by_fingerprint" if query.fingerprint else "INDEXED BY groups_by_size"
    rows = connection.execute(
        f"SELECT g.open, g.id, p.topic, p.consumers, g.fingerprint, g.type, g.reason, g.disposition FROM groups g {way} "
        f"CROSS JOIN places p ON p.id = g.place WHERE {conditions} ORDER BY g.open DESC, g.id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    more = f"{rows[limit - 1][0]}.{rows[limit - 1][1]}" if len(rows) > limit else None
    return Groups([_group(connection, row) for row in rows[:limit]], more)


def _group(connection: sqlite3.Connection, row: Sequence[Any]) -> Group:
    _, cluster, topic, consumers, fingerprint, type_, reason, disposition = row
    counts: dict[State, int] = {}
    owners: set[str] = set()
    for state, owner, count in connection.execute(
        "SELECT t.state, n.name, t.count FROM tallies t JOIN names n ON n.id = t.owner WHERE t.cluster = ? AND t.count > 0",
        (cluster,),
    ):
        counts[STATES[state]] = counts.get(STATES[state], 0) + count
        if owner and STATES[state] in OPEN:
            owners.add(owner)
    firsts = [_edge(connection, "min", cluster, state) for state in counts if state in OPEN]
    newest = max(_edge(connection, "max", cluster, state) for state in counts)
    packed = connection.execute("SELECT record FROM details WHERE number = ?", (newest,)).fetchone()[0]
    record = read_record(packed)
    return Group(
        topic=topic,
        group=consumers,
        fingerprint=fingerprint,
        type=type_,
        reason=reason,
        disposition=disposition,
        error=record.error,
        frame=record.frame,
        detail=record.detail,
        counts=counts,
        oldest=_time_of(min(firsts)) if firsts else None,
        newest=_time_of(newest),
        owners=tuple(sorted(owners)),
    )


def _edge(connection: sqlite3.Connection, edge: str, cluster: int, state: State) -> int:
    sql = f"SELECT {edge}(number) FROM letters WHERE cluster = ? AND state = ?"
    number: int = connection.execute(sql, (cluster, NUMBER[state])).fetchone()[0]
    return number


def _time_of(number: int) -> datetime:
    return as_time((number >> BITS) * 1000)


def tally(connection: sqlite3.Connection) -> Mapping[tuple[str, str], Mapping[State, int]]:
    found: dict[tuple[str, str], dict[State, int]] = {}
    for topic, consumers in connection.execute("SELECT topic, consumers FROM places"):
        found[topic, consumers] = dict.fromkeys(State, 0)
    for topic, consumers, state, count in connection.execute(
        "SELECT p.topic, p.consumers, t.state, sum(t.count) FROM tallies t JOIN groups g ON g.id = t.cluster "
        "JOIN places p ON p.id = g.place GROUP BY 1, 2, 3"
    ):
        found[topic, consumers][STATES[state]] = count
    return found


def oldest(connection: sqlite3.Connection, topic: str, group: str, states: frozenset[State]) -> datetime | None:
    edges = [f"(SELECT min(number) FROM letters WHERE cluster = g.id AND state = {NUMBER[state]})" for state in states]
    first = " UNION ALL ".join(
        f"SELECT {edge} AS n FROM groups g JOIN places p ON p.id = g.place WHERE p.topic = ?1 AND p.consumers = ?2"
        for edge in edges
    )
    number = connection.execute(f"SELECT min(n) FROM ({first})", (topic, group)).fetchone()[0]
    return None if number is None else _time_of(number)
