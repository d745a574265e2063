"""What the service has made of the events, in SQLite: the messages that stand, and the archive of all that happened."""

import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from pathlib import Path

from examples.discord.events import Event, MemberJoined, MessageDeleted, MessageEdited, MessagePosted

__all__ = ["Store"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS applied (id TEXT PRIMARY KEY, channel TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, channel TEXT NOT NULL, author TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS members (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS archive (id TEXT PRIMARY KEY, body BLOB NOT NULL);
"""


class Store:
    """In one file. Each method is one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def apply(self, event: Event) -> None:
        """Change what the event has changed. The second time it comes, which a crash may bring about, it changes nothing."""
        with self._transaction() as database:
            new = database.execute(
                "INSERT INTO applied VALUES (?, ?) ON CONFLICT DO NOTHING", (event.identity, event.key)
            )
            if new.rowcount:
                change(database, event)

    def keep(self, bodies: Iterable[tuple[str, bytes]]) -> None:
        """Events by their identities, as they travelled."""
        with self._transaction() as database:
            database.executemany("INSERT INTO archive VALUES (?, ?) ON CONFLICT DO NOTHING", bodies)

    def applied(self) -> list[tuple[str, ...]]:
        """Channel (or guild) and identity of each event, in the order they were applied."""
        return self._rows("SELECT channel, id FROM applied ORDER BY rowid")

    def archived(self) -> set[str]:
        return {identity for (identity,) in self._rows("SELECT id FROM archive")}

    def messages(self) -> list[tuple[str, ...]]:
        """Channel, author and content of each message that stands, the oldest first."""
        return self._rows("SELECT channel, author, content FROM messages ORDER BY CAST(id AS INTEGER)")

    def _rows(self, query: str) -> list[tuple[str, ...]]:
        with self._transaction() as database:
            return database.execute(query).fetchall()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=10.0)) as database, database:
            database.executescript(SCHEMA)
            yield database


def change(database: sqlite3.Connection, event: Event) -> None:
    match event:
        case MessagePosted():
            row = (event.message_id, event.channel_id, event.author, event.content)
            database.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)
        case MessageEdited():
            database.execute("UPDATE messages SET content = ? WHERE id = ?", (event.content, event.message_id))
        case MessageDeleted():
            database.execute("DELETE FROM messages WHERE id = ?", (event.message_id,))
        case MemberJoined():
            database.execute("INSERT OR REPLACE INTO members VALUES (?, ?)", (event.user_id, event.name))
        case _:
            pass  # a command changes nothing: it is answered
