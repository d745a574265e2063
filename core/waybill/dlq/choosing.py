"""From a query to the numbers of its letters: by the narrowest way in, or by walking through all of them.

What a query names of a group (topic, reason, type, fingerprint …) is looked up once, among the groups. Where one of the ways in
leads to few letters, these are looked at and sorted. Where all lead to many, the letters are walked through in their order
until the page is full: a whole million takes about a tenth of a second. Words are looked up in their own index, which has
the order too; where the page is not full in time it ends there, and the next one goes on.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from waybill.dlq.model import OPEN, Query
from waybill.dlq.numbers import number_from
from waybill.dlq.states import numbers
from waybill.errors import ConfigurationError

__all__ = ["Chosen", "choose", "groups_like", "prefixed"]

FEW = 20_000
"""Letters that are sorted sooner than all are walked through."""
SLICE = 4000
"""Letters with the words wanted that are looked at together."""
PATIENCE = 0.1
"""Seconds for which one page is looked for by words."""
LAST = (1 << 63) - 1
SHORTEST = 2
"""Letters that the beginning of a word must have: a shorter one begins them all."""


@dataclass(slots=True)
class Chosen:
    """What is asked of the table of letters, `l`. `ways`: indexes that lead there, each with its own condition."""

    where: list[str] = field(default_factory=list[str])
    values: list[Any] = field(default_factory=list[Any])
    ways: list[tuple[str, str, list[Any]]] = field(default_factory=list[tuple[str, str, list[Any]]])
    least: int = 0
    beyond: int = LAST
    words: str = ""

    def narrow(self, condition: str, values: Sequence[Any] = (), *, way: str = "") -> None:
        self.where.append(condition)
        self.values += values
        if way:
            self.ways.append((way, condition, list(values)))

    def page(self, connection: sqlite3.Connection, *, after: int | None, limit: int, oldest_first: bool) -> Found:
        """The next so many after that one, in their order."""
        least, beyond = self.least, self.beyond
        if after is not None:
            least, beyond = (max(least, after + 1), beyond) if oldest_first else (least, min(beyond, after))
        order = "ASC" if oldest_first else "DESC"
        if self.words:
            return self._by_words(connection, least, beyond, order, limit)
        rows = connection.execute(
            f"SELECT l.number FROM letters l {self._way(connection)} WHERE {self._conditions()} "
            f"AND l.number >= ? AND l.number < ? ORDER BY l.number {order} LIMIT ?",
            (*self.values, least, beyond, limit + 1),
        ).fetchall()
        found = [row[0] for row in rows[:limit]]
        return Found(found, found[-1] if len(rows) > limit else None)

    def count(self, connection: sqlite3.Connection, most: int | None) -> int:
        source = f"letters l {self._way(connection)}"
        values = [*self.values, self.least, self.beyond, -1 if most is None else most]
        if self.words:
            source = "words CROSS JOIN letters l ON l.number = words.rowid AND words MATCH ?"
            values.insert(0, self.words)
        sql = f"SELECT 1 FROM {source} WHERE {self._conditions()} AND l.number >= ? AND l.number < ? LIMIT ?"
        number: int = connection.execute(f"SELECT count(*) FROM ({sql})", values).fetchone()[0]
        return number

    def _conditions(self) -> str:
        return " AND ".join(self.where) or "TRUE"

    def _way(self, connection: sqlite3.Connection) -> str:
        """By an index with few, or in the order of all."""
        for way, condition, values in self.ways:
            sql = f"SELECT 1 FROM letters l INDEXED BY {way} WHERE {condition} LIMIT {FEW}"
            if connection.execute(f"SELECT count(*) FROM ({sql})", values).fetchone()[0] < FEW:
                return f"INDEXED BY {way}"
        return "NOT INDEXED"

    def _by_words(self, connection: sqlite3.Connection, least: int, beyond: int, order: str, limit: int) -> Found:
        found: list[int] = []
        end = time.monotonic() + PATIENCE
        for numbers_ in self._slices(connection, least, beyond, order):
            rows = connection.execute(
                f"SELECT l.number FROM letters l NOT INDEXED WHERE l.number IN ({','.join(map(str, numbers_))}) "
                f"AND {self._conditions()} ORDER BY l.number {order} LIMIT ?",
                (*self.values, limit + 1 - len(found)),
            ).fetchall()
            found += [row[0] for row in rows]
            if len(found) > limit:
                return Found(found[:limit], found[limit - 1])
            if len(numbers_) == SLICE and time.monotonic() > end:
                return Found(found, numbers_[-1])
        return Found(found, None)

    def _slices(self, connection: sqlite3.Connection, least: int, beyond: int, order: str) -> Iterator[Sequence[int]]:
        sql = f"SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid {order}"
        cursor = connection.execute(sql, (self.words, least, beyond - 1))
        while rows := cursor.fetchmany(SLICE):
            yield [row[0] for row in rows]


@dataclass(frozen=True, slots=True)
class Found:
    numbers: Sequence[int]
    after: int | None


def choose(connection: sqlite3.Connection, query: Query) -> Chosen | None:
    """How the query's letters are found; `None`: there are none."""
    chosen = Chosen(words=_match(query.text))
    if query.since is not None:
        chosen.least = number_from(query.since)
    if query.before is not None:
        chosen.beyond = number_from(query.before)
    if query.ids and not _by_id(connection, query, chosen):
        return None
    for column, name in (("operation", query.operation), ("owner", query.owner)):
        if name is None:
            continue
        row = connection.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        chosen.narrow(
            f"l.{column} = {row[0]}" + (f" AND l.{column} > 0" if row[0] else ""), way=_WAYS[column] * bool(row[0])
        )
    states = f"l.state IN ({numbers(query.states)})"
    if conditions := groups_like(query):
        sql, values = conditions
        # materialised: SQLite would look it up anew for each letter
        chosen.narrow(f"l.cluster IN (SELECT g.id FROM groups g JOIN places p ON p.id = g.place WHERE {sql})", values)
        chosen.ways.append(("letters_by_group", f"{chosen.where[-1]} AND {states}", values))
    if query.states:
        chosen.narrow(states, way="letters_by_state" if query.states != OPEN else "")
    return chosen


_WAYS = {"operation": "letters_by_operation", "owner": "letters_by_owner"}


def groups_like(query: Query) -> tuple[str, list[Any]] | None:
    """What the query asks of a group (`g`) at its place (`p`); `None`: nothing."""
    exact = {
        "p.topic": query.topic,
        "p.consumers": query.group,
        "g.reason": query.reason,
        "g.disposition": query.disposition,
        "g.type": query.type,
    }
    conditions = [f"{column} = ?" for column, value in exact.items() if value is not None]
    values: list[Any] = [value for value in exact.values() if value is not None]
    if query.fingerprint is not None:
        condition, more = prefixed("g.fingerprint", query.fingerprint)
        conditions.append(condition)
        values += more
    return (" AND ".join(conditions), values) if conditions else None


def prefixed(column: str, beginning: str) -> tuple[str, list[Any]]:
    """That a column begins so, in a way that an index can answer."""
    return f"{column} >= ? AND {column} < ?", [beginning, beginning + "\U0010ffff"]


def _by_id(connection: sqlite3.Connection, query: Query, chosen: Chosen) -> bool:
    found: set[int] = set()
    for beginning in query.ids:
        whole = connection.execute("SELECT number FROM details WHERE id = ?", (beginning,)).fetchall()
        condition, values = prefixed("id", beginning)
        rows = whole or connection.execute(f"SELECT number FROM details WHERE {condition}", values)
        found |= {row[0] for row in rows}
    chosen.narrow(f"l.number IN ({','.join(map(str, found))})")
    return bool(found)


def _match(text: str) -> str:
    """The words as FTS5 reads them: each quoted, so that none is taken for its syntax; a phrase where it has parts."""
    words: list[str] = []
    for word in text.split():
        plain = word.rstrip("*").replace('"', " ").strip()
        if not re.search(r"\w", plain):
            continue
        if word.endswith("*") and len(plain) < SHORTEST:
            raise ConfigurationError(f"{word}: at least {SHORTEST} letters before the star")
        words.append(f'"{plain}"' + "*" * word.endswith("*"))
    if text.strip() and not words:
        raise ConfigurationError(f"{text!r} has no word to search for")
    return " ".join(words)
