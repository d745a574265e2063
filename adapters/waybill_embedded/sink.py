"""Ways in: a topic, one group's inbox or waiting room, one group's dead letters."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

from waybill.errors import BrokerError, BrokerUnavailable
from waybill.message import Message
from waybill.outcomes import Confirmed, Refused, SendResult
from waybill.topology import Destination
from waybill_embedded import rows
from waybill_embedded.engine import Engine
from waybill_embedded.members import Members

__all__ = ["FileSink", "bury_message"]

Columns: TypeAlias = tuple[str | None, float | None, str, bytes | None]
INSERT = "INSERT INTO messages (topic, target, key, due, message, body) VALUES ({topic}, {group}, ?, ?, ?, ?)"


class FileSink:
    """Stores messages. `send` returns when they are flushed to the disk (where the file asks for that)."""

    def __init__(self, engine: Engine, members: Members, destination: Destination) -> None:
        self._engine = engine
        self._members = members
        self._destination = destination

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        del deadline  # a transaction ends by itself; callers who cannot wait have gone by then
        try:
            encoded = [_columns(message) for message in messages]
        except (ValueError, TypeError, OverflowError):
            return await self._send_readable(messages)
        return await self._send(messages, encoded)

    async def _send_readable(self, messages: Sequence[Message]) -> Sequence[SendResult]:
        """One of them cannot be written; the others must not suffer for it."""
        results: list[SendResult] = []
        for message in messages:
            try:
                encoded = _columns(message)
            except (ValueError, TypeError, OverflowError) as error:
                results.append(Refused(f"the message cannot be written: {error}"))
            else:
                results += await self._send([message], [encoded])
        return results

    async def _send(self, messages: Sequence[Message], encoded: Sequence[Columns]) -> Sequence[SendResult]:
        store = self._bury if self._destination.kind == "dead" else self._store
        try:
            last = await self._engine.write(lambda connection: store(connection, messages, encoded), durable=True)
        except BrokerError as error:
            # a transaction that failed left nothing behind
            return [Refused(str(error), transient=isinstance(error, BrokerUnavailable))] * len(messages)
        if last is None:
            missing = f"{self._destination.name} does not exist on this broker: run `waybill topology apply`"
            return [Refused(missing)] * len(messages)
        self._members.ring()
        first = last - len(messages) + 1
        return [Confirmed(message.id, str(first + number)) for number, message in enumerate(messages)]

    def _store(
        self, connection: sqlite3.Connection, _messages: Sequence[Message], encoded: Sequence[Columns]
    ) -> int | None:
        place = find(connection, self._destination.topic.name, self._destination.group)
        if place is None:
            return None
        topic, group = place
        connection.executemany(INSERT.format(topic=topic, group="NULL" if group is None else group), encoded)
        return _last(connection)

    def _bury(
        self, connection: sqlite3.Connection, messages: Sequence[Message], _encoded: Sequence[Columns]
    ) -> int | None:
        place = find(connection, self._destination.topic.name, self._destination.group)
        if place is None:
            return None
        for message in messages:
            bury_message(connection, place[1], message)
        return _last(connection)


def bury_message(connection: sqlite3.Connection, group: int | None, message: Message) -> None:
    """Write a dead letter. Inside a transaction."""
    reason = message.dead.reason if message.dead is not None else "unknown"
    connection.execute(
        "INSERT INTO dead (grp, reason, message, body) VALUES (?, ?, ?, ?)", (group, reason, *rows.write(message))
    )


def find(connection: sqlite3.Connection, topic: str, group: str | None) -> tuple[int, int | None] | None:
    """The numbers of a topic and a group, or `None` if one of them does not exist."""
    row = connection.execute(
        "SELECT t.id, g.id FROM topics t LEFT JOIN groups g ON g.topic = t.id AND g.name = ? WHERE t.name = ?",
        (group, topic),
    ).fetchone()
    if row is None or (group is not None and row[1] is None):
        return None
    return row[0], row[1]


def _columns(message: Message) -> Columns:
    """Key, due time, message and body. Raises `ValueError` and its kind for what SQLite or JSON cannot hold."""
    if message.key is not None:
        message.key.encode()
    due = None if message.due is None else message.due.timestamp()
    return message.key, due, *rows.write(message)


def _last(connection: sqlite3.Connection) -> int:
    last: int = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
    return last
