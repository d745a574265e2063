"""One whole look at a group's dead letters: what was seen is filed, and what was not seen in the end is gone.

What was seen is kept in a table of the connection's own, on disk where it is much: a million letters need no memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from itertools import count

from waybill.dlq.auditing import summarise, write
from waybill.dlq.database import Database
from waybill.dlq.filing import COLLECTOR, Filing, place_of
from waybill.dlq.model import CLAIMABLE, Action, Key, Recorded, State
from waybill.dlq.numbers import instant
from waybill.dlq.states import NUMBER, STATES
from waybill.message import Message

__all__ = ["Look"]

BATCH = 1000
FIRST = -(1 << 63)

_names = count()


class Look:
    """From `Index.look`. Everything in it is committed as it comes."""

    def __init__(self, database: Database, topic: str, group: str, began: datetime) -> None:
        self._database = database
        self._topic = topic
        self._group = group
        self._began = began
        self._seen = f"temp.seen_{next(_names)}"
        self._left: list[tuple[int, int]] | None = None
        """Groups and states in which letters may be gone, the next one last."""
        self._after = FIRST
        with database.writing() as connection:
            connection.execute(f"CREATE TABLE {self._seen} (number INTEGER PRIMARY KEY)")
        self.found = Recorded()

    def record(self, messages: Sequence[Message], *, now: datetime) -> Recorded:
        """These are among the dead letters now. Raises `BrokerError`."""
        with self._database.writing() as connection:
            filing = Filing(connection, self._topic, self._group, now, began=self._began)
            recorded = filing.file(messages)
            connection.executemany(f"INSERT OR IGNORE INTO {self._seen} VALUES (?)", filing.numbers)
        self.found += recorded
        return recorded

    def end(self, *, complete: bool, now: datetime) -> Recorded:
        """What the whole look has brought. complete: the broker has shown all that it has, so that the others are gone.

        Of those the ones that nobody has redriven or discarded are `archived`, and those that came back, as was told; the
        others keep their state.
        """
        if complete:
            while gone := self._miss(now):
                self.found += Recorded(gone=gone)
            while self._give_up(now):
                pass
        with self._database.writing() as connection:
            connection.execute(f"DROP TABLE {self._seen}")
            if self.found.new or self.found.back or self.found.gone:
                brought = f"{self.found.new} new, {self.found.back} came back, {self.found.gone} gone"
                action = Action(by=COLLECTOR, why=brought)
                total = self.found.new + self.found.back + self.found.gone
                summarise(connection, "collect", action, topic=self._topic, group=self._group, count=total, now=now)
        return self.found

    def _miss(self, now: datetime) -> int:
        """Mark some of those that are gone."""
        with self._database.writing() as connection:
            rows = self._missing(connection)
            connection.executemany(
                "UPDATE letters SET gone = ? WHERE number = ?", [(instant(now), row[0]) for row in rows]
            )
            # No operation had these, so that nobody knows what became of them.
            self._archive(connection, [row for row in rows if STATES[row[1]] in CLAIMABLE], now)
        return len(rows)

    def _missing(self, connection: sqlite3.Connection) -> list[tuple[int, int, str]]:
        """Not those that somebody else has filed since we began: they came too late for us to see. From where it was the last
        time: what is gone in a large group is not gone through again for each part of it."""
        if self._left is None:
            self._left = connection.execute(
                "SELECT DISTINCT t.cluster, t.state FROM groups g JOIN tallies t ON t.cluster = g.id "
                "WHERE g.place = ? AND t.count > 0 ORDER BY t.cluster DESC, t.state DESC",
                (place_of(connection, self._topic, self._group),),
            ).fetchall()
        found: list[tuple[int, int, str]] = []
        while self._left and (room := BATCH - len(found)):
            rows = connection.execute(
                "SELECT l.number, l.state, d.id FROM letters l INDEXED BY letters_by_group JOIN details d USING (number) "
                "WHERE l.cluster = ? AND l.state = ? AND l.number > ? AND l.gone = 0 AND d.came < ? "
                f"AND NOT EXISTS (SELECT 1 FROM {self._seen} AS seen WHERE seen.number = l.number) "
                "ORDER BY l.number LIMIT ?",
                (*self._left[-1], self._after, instant(self._began), room),
            ).fetchall()
            found += rows
            if len(rows) < room:
                self._left.pop()
                self._after = FIRST
            else:
                self._after = rows[-1][0]
        return found

    def _give_up(self, now: datetime) -> int:
        """Archive some that were sent back and of which no operation waits to hear any more: they came back, as was told, and were
        gone before anybody looked."""
        with self._database.reading() as connection:  # where many are pending, it keeps nobody from writing
            if not self._given_up(connection):
                return 0
        with self._database.writing() as connection:
            rows = self._given_up(connection)
            self._archive(connection, rows, now)
        return len(rows)

    def _given_up(self, connection: sqlite3.Connection) -> list[tuple[int, int, str]]:
        return connection.execute(
            "SELECT l.number, l.state, d.id FROM places p JOIN groups g ON g.place = p.id "
            f"CROSS JOIN letters l INDEXED BY letters_by_group ON l.cluster = g.id AND l.state = {NUMBER[State.PENDING]} "
            "CROSS JOIN details d USING (number) WHERE p.topic = ?1 AND p.consumers = ?2 AND l.gone > 0 AND l.operation IN ("
            "SELECT n.id FROM operation o JOIN names n ON n.name = o.id WHERE o.topic = ?1 AND o.grp = ?2 "
            "AND EXISTS (SELECT 1 FROM move WHERE operation = o.number AND step = 'came_back')) AND d.came < ?3 AND EXISTS ("
            "SELECT 1 FROM names n JOIN operation o ON o.id = n.name JOIN move m ON m.operation = o.number AND m.id = d.id "
            "WHERE n.id = l.operation AND m.step = 'came_back' AND m.at < ?4) LIMIT ?5",
            (self._topic, self._group, instant(self._began), self._began.timestamp(), BATCH),
        ).fetchall()

    def _archive(self, connection: sqlite3.Connection, rows: Sequence[tuple[int, int, str]], now: datetime) -> None:
        connection.executemany(
            f"UPDATE letters SET state = {NUMBER[State.ARCHIVED]} WHERE number = ?",
            [(number,) for number, _, _ in rows],
        )
        connection.executemany(
            "UPDATE details SET changed = ? WHERE number = ?", [(instant(now), number) for number, _, _ in rows]
        )
        changes = [(Key(self._topic, self._group, id_), STATES[state], State.ARCHIVED) for _, state, id_ in rows]
        write(connection, "gone", Action(by=COLLECTOR), changes, now)
