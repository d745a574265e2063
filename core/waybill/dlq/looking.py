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
from waybill.dlq.model import Action, Key, Recorded, State
from waybill.dlq.numbers import instant
from waybill.dlq.states import NUMBER, STATES, numbers
from waybill.message import Message

__all__ = ["Look"]

BATCH = 1000
LEFT_ALONE = frozenset({State.UNRESOLVED, State.TRIAGED})
"""Nobody has sent these on or discarded them, so nobody knows what became of them."""

_names = count()


class Look:
    """From `Index.look`. Everything in it is committed as it comes."""

    def __init__(self, database: Database, topic: str, group: str, began: datetime) -> None:
        self._database = database
        self._topic = topic
        self._group = group
        self._began = began
        self._seen = f"temp.seen_{next(_names)}"
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

        Of those the ones that nobody has redriven or discarded are `archived`; the others keep their state.
        """
        if complete:
            while gone := self._miss(now):
                self.found += Recorded(gone=gone)
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
            lost = [row for row in rows if STATES[row[1]] in LEFT_ALONE]
            connection.executemany(
                f"UPDATE letters SET state = {NUMBER[State.ARCHIVED]} WHERE number = ?",
                [(number,) for number, _, _ in lost],
            )
            connection.executemany(
                "UPDATE details SET changed = ? WHERE number = ?", [(instant(now), number) for number, _, _ in lost]
            )
            changes = [(Key(self._topic, self._group, id_), STATES[state], State.ARCHIVED) for _, state, id_ in lost]
            write(connection, "gone", Action(by=COLLECTOR), changes, now)
        return len(rows)

    def _missing(self, connection: sqlite3.Connection) -> list[tuple[int, int, str]]:
        """Not those that somebody else has filed since we began: they came too late for us to see."""
        place = place_of(connection, self._topic, self._group)
        return connection.execute(
            "SELECT l.number, l.state, d.id FROM groups g "
            f"CROSS JOIN letters l INDEXED BY letters_by_group ON l.cluster = g.id AND l.state IN ({numbers(())}) "
            "JOIN details d USING (number) WHERE g.place = ? AND l.gone = 0 AND d.came < ? "
            f"AND NOT EXISTS (SELECT 1 FROM {self._seen} AS seen WHERE seen.number = l.number) LIMIT ?",
            (place, instant(self._began), BATCH),
        ).fetchall()
