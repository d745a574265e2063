"""Ways in: a topic, one group's inbox or waiting room, one group's dead letters."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

from waybill.clock import Clock
from waybill.errors import BrokerError, BrokerUnavailable, missing, unrouted
from waybill.message import Message
from waybill.outcomes import Confirmed, Refused, SendResult
from waybill.topology import Destination
from waybill_embedded import rows
from waybill_embedded.claims import forget_old
from waybill_embedded.engine import Engine
from waybill_embedded.file import InDoubt
from waybill_embedded.groups import Topic, find, read_topic
from waybill_embedded.members import Members

__all__ = ["FileSink", "bury_message"]

Columns: TypeAlias = tuple[str | None, float | None, str, bytes | None, float | None]
INSERT = (
    "INSERT INTO messages (topic, target, key, due, message, body, kept_until) VALUES ({topic}, {group}, ?, ?, ?, ?, ?)"
)
SWEEP = 60.0
"""Seconds between two looks for what a topic need not keep any longer."""


class FileSink:
    """Stores messages. `send` returns when they are flushed to the disk (where the file asks for that)."""

    def __init__(self, engine: Engine, members: Members, destination: Destination, clock: Clock) -> None:
        self._engine = engine
        self._members = members
        self._destination = destination
        self._clock = clock
        self._swept = float("-inf")

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
            results = await self._engine.write(lambda connection: store(connection, messages, encoded), durable=True)
        except InDoubt:
            raise  # it may be on the disk, or not
        except BrokerError as error:
            # a transaction that failed left nothing behind
            return [Refused(str(error), transient=isinstance(error, BrokerUnavailable))] * len(messages)
        if results is None:
            return [Refused(missing(self._destination.name))] * len(messages)
        self._members.ring()
        return results

    def _store(
        self, connection: sqlite3.Connection, messages: Sequence[Message], encoded: Sequence[Columns]
    ) -> Sequence[SendResult] | None:
        if self._destination.kind == "topic":
            return self._publish(connection, messages, encoded)
        place = find(connection, self._destination.topic.name, self._destination.group)
        if place is None:
            return None
        topic, group = place
        connection.executemany(INSERT.format(topic=topic, group=group), encoded)
        connection.execute(
            "UPDATE groups SET waiting = waiting + ? WHERE id = ? AND waiting IS NOT NULL", (len(encoded), group)
        )
        return _confirmed(connection, messages)

    def _publish(
        self, connection: sqlite3.Connection, messages: Sequence[Message], encoded: Sequence[Columns]
    ) -> Sequence[SendResult] | None:
        topic = read_topic(connection, self._destination.topic.name)
        if topic is None:
            return None
        spec = self._destination.topic
        if not spec.accept_unrouted and not has_groups(connection, topic.id):
            return [Refused(unrouted(spec.name))] * len(messages)
        if topic.retention is None and topic.max_length is None and topic.dedup_window is None:
            connection.executemany(INSERT.format(topic=topic.id, group="NULL"), encoded)
            return _confirmed(connection, messages)
        now = self._clock.time()
        if now - self._swept > SWEEP:
            self._swept = now
            forget_old(connection, topic.id, now)
        return publish(connection, topic, messages, encoded, now)

    def _bury(
        self, connection: sqlite3.Connection, messages: Sequence[Message], _encoded: Sequence[Columns]
    ) -> Sequence[SendResult] | None:
        place = find(connection, self._destination.topic.name, self._destination.group)
        if place is None:
            return None
        for message in messages:
            bury_message(connection, place[1], message)
        return _confirmed(connection, messages)


def bury_message(connection: sqlite3.Connection, group: int | None, message: Message) -> None:
    """Write a dead letter. Inside a transaction."""
    reason = message.dead.reason if message.dead is not None else "unknown"
    connection.execute(
        "INSERT INTO dead (grp, reason, message, body) VALUES (?, ?, ?, ?)", (group, reason, *rows.write(message))
    )


def publish(
    connection: sqlite3.Connection,
    topic: Topic,
    messages: Sequence[Message],
    encoded: Sequence[Columns],
    now: float,
) -> Sequence[SendResult]:
    """Store them one by one on a topic that keeps, counts or remembers. Inside a transaction."""
    insert = INSERT.format(topic=topic.id, group="NULL")
    until = None if topic.retention is None else now + topic.retention
    room = room_of(connection, topic)
    stored = 0
    results: list[SendResult] = []
    for message, columns in zip(messages, encoded, strict=True):
        known = None if topic.dedup_window is None else seen_before(connection, topic, message, now)
        if known is not None:
            results.append(known)
        elif room is not None and stored >= room:
            full = (
                f"{topic.max_length} messages wait in one of its groups, which is its max_length: publish again later"
            )
            results.append(Refused(full, transient=True))
        else:
            connection.execute(insert, (*columns[:-1], until))
            results.append(_confirmed(connection, [message])[0])
            stored += 1
            if topic.dedup_window is not None:
                remember(connection, topic, message, now)
    connection.execute(
        "UPDATE groups SET waiting = waiting + ? WHERE topic = ? AND waiting IS NOT NULL", (stored, topic.id)
    )
    return results


def room_of(connection: sqlite3.Connection, topic: Topic) -> int | None:
    """How many more messages the fullest of the topic's groups may have; `None`: any number."""
    if topic.max_length is None:
        return None
    (most,) = connection.execute("SELECT max(waiting) FROM groups WHERE topic = ?", (topic.id,)).fetchone()
    return max(0, topic.max_length - (most or 0))


def seen_before(connection: sqlite3.Connection, topic: Topic, message: Message, now: float) -> SendResult | None:
    """What becomes of a message whose id was stored within the window; `None`: none was."""
    row = connection.execute(
        "SELECT body FROM seen WHERE topic = ? AND id = ? AND until >= ?", (topic.id, message.id, now)
    ).fetchone()
    if row is None:
        return None
    if row[0] == _digest(message):
        return Confirmed(message.id, "stored before")
    return Refused(f"a message with the id {message.id!r} and another body was stored before: give each its own id")


def remember(connection: sqlite3.Connection, topic: Topic, message: Message, now: float) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO seen (topic, id, body, until) VALUES (?, ?, ?, ?)",
        (topic.id, message.id, _digest(message), now + (topic.dedup_window or 0.0)),
    )


def _digest(message: Message) -> bytes | None:
    return None if message.body is None else hashlib.blake2b(message.body, digest_size=16).digest()


def has_groups(connection: sqlite3.Connection, topic: int) -> bool:
    return connection.execute("SELECT 1 FROM groups WHERE topic = ? LIMIT 1", (topic,)).fetchone() is not None


def _columns(message: Message) -> Columns:
    """Key, due time, message, body and how long it is kept. Raises `ValueError` and its kind for what SQLite or JSON
    cannot hold."""
    if message.key is not None:
        message.key.encode()
    due = None if message.due is None else message.due.timestamp()
    return message.key, due, *rows.write(message), None


def _confirmed(connection: sqlite3.Connection, messages: Sequence[Message]) -> list[SendResult]:
    """The messages that were just stored, one after another."""
    last: int = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
    first = last - len(messages) + 1
    return [Confirmed(message.id, str(first + number)) for number, message in enumerate(messages)]
