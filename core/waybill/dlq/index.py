"""The index of dead letters: what was seen of them, how far their review is, and who did what.

One file of SQLite, which any number of processes may use at once. What is asked is answered from it alone; `collecting`
brings what the brokers have.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from waybill.dlq import auditing, reading, reviewing
from waybill.dlq.choosing import choose, prefixed
from waybill.dlq.database import Database
from waybill.dlq.filing import Filing, read_message
from waybill.dlq.looking import Look
from waybill.dlq.model import Action, Entry, Groups, Key, Letter, Letters, Query, Recorded, State
from waybill.errors import ConfigurationError
from waybill.message import Message

__all__ = ["DEFAULT", "Index"]

DEFAULT = "waybill-dlq.db"
ALIKE = 20
"""Letters that `find` gives at most."""
OF_KEY = (
    "FROM places p JOIN details d ON d.place = p.id JOIN messages m USING (number) "
    "WHERE p.topic = ? AND p.consumers = ? AND d.id = ?"
)


class Index:
    """Opened by `Index.open`. Its calls are short and block: a loop that must not wait calls them in a thread.

    All of them may raise `BrokerError` with what is wrong with the file and how to mend it.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        """The file, for who keeps tables of their own in it: `STEPS` of `waybill.dlq.database`."""

    @classmethod
    @contextmanager
    def open(cls, path: str | Path, *, create: bool = True) -> Generator[Index, None, None]:
        """The index in that file, which is made if there is none and `create`; else `ConfigurationError`."""
        with Database.open(str(path), create=create) as database:
            yield cls(database)

    @property
    def path(self) -> str:
        return self.database.path

    # what was seen

    def record(self, topic: str, group: str, messages: Sequence[Message], *, now: datetime) -> Recorded:
        """These are among that group's dead letters now: new ones, known ones, and those that came back.

        One that was dead-lettered once more is unresolved again, whatever it was.
        """
        with self.database.writing() as connection:
            return Filing(connection, topic, group, now).file(messages)

    def look(self, topic: str, group: str, *, now: datetime) -> Look:
        """Begin a look at all of that group's dead letters, so that in the end it is known which are gone."""
        return Look(self.database, topic, group, now)

    def forget(self, topic: str, group: str, *, before: datetime, limit: int = 1000) -> int:
        """Take away, for good, up to so many of the group's letters that are done with since before then and that the broker has no
        more; or else so much of what its operations, ended before then, did to letters.

        Says how many; 0: there is nothing more. What the audit tells of them stays.
        """
        with self.database.writing() as connection:
            letters = reviewing.forget(connection, topic, group, before, limit)
            return letters or reviewing.forget_operations(connection, topic, group, before, limit)

    # questions

    def page(self, query: Query, *, after: str | None = None, limit: int = 50, oldest_first: bool = False) -> Letters:
        """Letters, by the time of their dead-lettering, the newest first. `after` comes from the page before."""
        with self.database.reading() as connection:
            chosen = choose(connection, query)
            if chosen is None:
                return Letters([])
            start = None if after is None else _number(after)
            found = chosen.page(connection, after=start, limit=limit, oldest_first=oldest_first)
            more = None if found.after is None else str(found.after)
            return Letters(reading.letters(connection, found.numbers), more)

    def count(self, query: Query, *, most: int | None = None) -> int:
        """How many, counted up to `most`."""
        with self.database.reading() as connection:
            chosen = choose(connection, query)
            return 0 if chosen is None else chosen.count(connection, most)

    def get(self, key: Key) -> Letter | None:
        with self.database.reading() as connection:
            row = connection.execute(f"SELECT d.number {OF_KEY}", key).fetchone()
            return reading.letters(connection, row)[0] if row else None

    def find(self, beginning: str) -> Sequence[Letter]:
        """Letters in any state whose id is this or else begins with it, at most 20."""
        condition, values = prefixed("id", beginning)
        with self.database.reading() as connection:
            rows = connection.execute(
                f"SELECT number FROM details WHERE id = ? UNION ALL SELECT * FROM (SELECT number FROM details WHERE {condition} "
                f"AND id != ? LIMIT {ALIKE})",
                (beginning, *values, beginning),
            ).fetchall()
            found = reading.letters(connection, [row[0] for row in rows])
        return [letter for letter in found if letter.key.id == beginning] or found

    def message(self, key: Key) -> Message | None:
        """The whole dead letter, as it was when it was seen last: body, headers and record."""
        with self.database.reading() as connection:
            row = connection.execute(f"SELECT m.message, d.record {OF_KEY}", key).fetchone()
            return read_message(*row) if row else None

    def groups(self, query: Query, *, after: str | None = None, limit: int = 50) -> Groups:
        """Letters that failed alike, in one line each. Of `query` it heeds topic, group, type, fingerprint, reason, disposition
        and states: groups that have a letter in one of these."""
        with self.database.reading() as connection:
            return reading.groups(connection, query, after=after, limit=limit)

    def tally(self) -> Mapping[tuple[str, str], Mapping[State, int]]:
        """Letters by (topic, group) and state, all states. Quick, however many there are."""
        with self.database.reading() as connection:
            return reading.tally(connection)

    def oldest(
        self, topic: str, group: str, states: frozenset[State] = frozenset({State.UNRESOLVED})
    ) -> datetime | None:
        """When the oldest in these states was dead-lettered."""
        with self.database.reading() as connection:
            return reading.oldest(connection, topic, group, states)

    # reviews

    def review(
        self,
        keys: Sequence[Key],
        to: State,
        action: Action,
        *,
        owner: str | None = None,
        ticket: str | None = None,
        note: str | None = None,
        now: datetime,
    ) -> Sequence[Key]:
        """Move these letters to that state where `NEXT` allows it, and say which were. What is `None` stays as it is.

        What the broker has no more cannot be unresolved again: nobody could do anything about it.

        Each has its line in the audit.
        """
        with self.database.writing() as connection:
            return reviewing.review(connection, keys, to, action, owner=owner, ticket=ticket, note=note, now=now)

    # operations

    def claim(self, keys: Sequence[Key], operation: str, action: Action, *, now: datetime) -> Sequence[Key]:
        """Those that are now this operation's and no other's (`redriving`). Asked again, it answers the same."""
        with self.database.writing() as connection:
            return reviewing.claim(connection, keys, operation, action, now)

    def advance(
        self, keys: Sequence[Key], operation: str, to: State, action: Action, *, now: datetime
    ) -> Sequence[Key]:
        """Move what the operation has claimed or sent on to that state (`pending`, `resolved`, `discarded`, or `unresolved`:
        given back). Says which were its own and were moved."""
        with self.database.writing() as connection:
            return reviewing.advance(connection, keys, operation, to, action, now=now)

    # audit

    def note(
        self, verb: str, action: Action, *, topic: str = "", group: str = "", count: int = 1, now: datetime
    ) -> None:
        """A line of the audit that is about no single letter."""
        with self.database.writing() as connection:
            auditing.summarise(connection, verb, action, topic=topic, group=group, count=count, now=now)

    def audit(
        self, *, key: Key | None = None, operation: str | None = None, after: int | None = None, limit: int = 100
    ) -> Sequence[Entry]:
        """Who did what, the newest first. after: the number of the last entry of the page before."""
        with self.database.reading() as connection:
            return auditing.read(connection, key=key, operation=operation, after=after, limit=limit)

    def audited(self, beginning: str) -> Sequence[Key]:
        """Letters of which the audit tells and whose id begins so, at most 20; those that are forgotten as well."""
        with self.database.reading() as connection:
            return auditing.keys_of(connection, beginning, ALIKE)


def _number(after: str) -> int:
    try:
        return int(after)
    except ValueError:
        raise ConfigurationError(f"after={after!r}: it comes from the page before") from None
