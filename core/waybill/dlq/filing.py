"""Dead letters into the index, as they are seen: new ones, those that are known, and those that came back.

One letter is one message among one group's dead letters. Each dead-lettering has an id; where the broker or somebody else has
made the letter there is none, and then one that was gone or was redriven since has come back. What came back is unresolved,
whatever it was before, and keeps what people have said of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from waybill.deadletters import fingerprint_of
from waybill.dlq.auditing import write
from waybill.dlq.model import Action, Key, Recorded, State
from waybill.dlq.numbers import instant, unused
from waybill.dlq.states import DONE_WITH, NUMBER, STATES
from waybill.letters import unknown
from waybill.message import DeadLetterRecord, Message
from waybill.redaction import looks_secret

__all__ = ["Filing", "place_of", "read_message", "read_record"]

BODY = 1024
"""Bytes of a body that can be searched, where it is text."""
COLLECTOR = "collect"

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(Message).decode
read_record = msgspec.msgpack.Decoder(DeadLetterRecord).decode


def read_message(message: bytes, record: bytes) -> Message:
    """The whole dead letter."""
    return msgspec.structs.replace(unpack(message), dead=read_record(record))


Seen = Literal["new", "back", "known"]


def place_of(connection: sqlite3.Connection, topic: str, group: str) -> int:
    """The number of a group of consumers, which is given if it has none."""
    connection.execute("INSERT INTO places (topic, consumers) VALUES (?, ?) ON CONFLICT DO NOTHING", (topic, group))
    found = connection.execute("SELECT id FROM places WHERE topic = ? AND consumers = ?", (topic, group)).fetchone()
    number: int = found[0]
    return number


class Filing:
    """Of one group of consumers, in one transaction."""

    def __init__(
        self, connection: sqlite3.Connection, topic: str, group: str, now: datetime, *, began: datetime | None = None
    ) -> None:
        """began: when the look began that has shown them; `None`: now."""
        self._db = connection
        self._topic = topic
        self._group = group
        self._place = place_of(connection, topic, group)
        self._now = now
        self._began = instant(began or now)
        self._clusters: dict[tuple[str, str, str, str], int] = {}
        self.numbers: list[tuple[int]] = []
        """Those that were seen."""

    def file(self, messages: Sequence[Message]) -> Recorded:
        count = {"new": 0, "back": 0, "known": 0}
        for message in messages:
            count[self._file(message)] += 1
        return Recorded(**count)

    def _file(self, message: Message) -> Seen:
        record = message.dead or unknown(message, self._topic, self._group)
        row = self._db.execute(
            "SELECT d.number, l.state, l.gone, d.record, d.redrives, d.changed FROM details d JOIN letters l USING (number) "
            "WHERE d.id = ? AND d.place = ?",
            (message.id, self._place),
        ).fetchone()
        if row is None:
            self._add(message, record)
            return "new"
        number, state, gone, packed, redrives, changed = row
        before = read_record(packed)
        if _is_another(before, record, gone=bool(gone), redriven=message.redrives > redrives):
            alike = _alike(before, message, record) and message.redrives > redrives
            self._bring_back(number, STATES[state], message, record, alike=alike)
            return "back"
        self.numbers.append((number,))
        done = STATES[state] in DONE_WITH and changed < self._began
        if gone or done:
            self._find_again(number, STATES[state], message.id, done=done)
        return "known"

    def _add(self, message: Message, record: DeadLetterRecord) -> None:
        number = unused(self._db, record.at)
        now = instant(self._now)
        self._db.execute(
            "INSERT INTO letters (number, cluster, state) VALUES (?, ?, 0)", (number, self._cluster(message, record))
        )
        self._db.execute(
            "INSERT INTO details (number, place, id, key, record, redrives, expires, edit_of, visits, came_back, came, changed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?)",
            (number, self._place, message.id, message.key, pack(record), message.redrives, _expiry(message),
             message.edit_of or "", now, now),
        )  # fmt: skip
        self._db.execute("INSERT INTO messages VALUES (?, ?)", (number, _without_record(message)))
        self._db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, words_of(message, record)))
        self.numbers.append((number,))

    def _bring_back(self, old: int, state: State, message: Message, record: DeadLetterRecord, *, alike: bool) -> None:
        number = unused(self._db, record.at)
        now = instant(self._now)
        self._db.execute(
            "UPDATE letters SET number = ?, cluster = ?, state = 0, gone = 0 WHERE number = ?",
            (number, self._cluster(message, record), old),
        )
        self._db.execute(
            "UPDATE details SET key = ?, record = ?, redrives = ?, expires = ?, edit_of = ?, visits = visits + 1, "
            "came_back = ?, came = ?, changed = ? WHERE number = ?",
            (message.key, pack(record), message.redrives, _expiry(message), message.edit_of or "", alike, now, now, number),
        )  # fmt: skip
        self._db.execute("UPDATE messages SET message = ? WHERE number = ?", (_without_record(message), number))
        self._db.execute("DELETE FROM words WHERE rowid = ?", (old,))
        self._db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, words_of(message, record)))
        self._audit("came back", message.id, state)
        self.numbers.append((number,))

    def _find_again(self, number: int, state: State, id_: str, *, done: bool) -> None:
        """It was only hidden, e.g. held by somebody. done: it was said to be dealt with, and is there still."""
        self._db.execute("UPDATE letters SET gone = 0 WHERE number = ?", (number,))
        if done or state is State.ARCHIVED:
            self._db.execute("UPDATE letters SET state = ? WHERE number = ?", (NUMBER[State.UNRESOLVED], number))
            self._db.execute("UPDATE details SET changed = ? WHERE number = ?", (instant(self._now), number))
            self._audit("found again", id_, state)

    def _audit(self, verb: str, id_: str, before: State) -> None:
        key = Key(self._topic, self._group, id_)
        write(self._db, verb, Action(by=COLLECTOR), [(key, before, State.UNRESOLVED)], self._now)

    def _cluster(self, message: Message, record: DeadLetterRecord) -> int:
        alike = (fingerprint_of(message, record), message.type, record.reason, record.disposition)
        known = self._clusters.get(alike)
        if known is None:
            self._db.execute(
                "INSERT INTO groups (place, fingerprint, type, reason, disposition) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (self._place, *alike),
            )
            known = self._clusters[alike] = self._db.execute(
                "SELECT id FROM groups WHERE place = ? AND fingerprint = ? AND type = ? AND reason = ? AND disposition = ?",
                (self._place, *alike),
            ).fetchone()[0]
        return known


def _is_another(before: DeadLetterRecord, now: DeadLetterRecord, *, gone: bool, redriven: bool) -> bool:
    """Whether it was dead-lettered once more since. What was read long ago and is written now is not.

    One more redrive says so whatever the time: clocks differ, and of what a broker has buried the time may be the message's own.
    """
    if before.id or now.id:
        return before.id != now.id and (redriven or now.at >= before.at)
    return redriven or gone


def _alike(before: DeadLetterRecord, message: Message, now: DeadLetterRecord) -> bool:
    return fingerprint_of(message, before) == fingerprint_of(message, now)


def _without_record(message: Message) -> bytes:
    """It stands beside it."""
    return pack(msgspec.structs.replace(message, dead=None))


def _expiry(message: Message) -> int | None:
    return None if message.expires is None else instant(message.expires)


def words_of(message: Message, record: DeadLetterRecord) -> str:
    """What is found by a search for words."""
    headers = [word for name, value in message.headers.items() if not looks_secret(name) for word in (name, value)]
    body = (message.body or b"")[:BODY]
    text = "" if b"\0" in body else body.decode("utf-8", "ignore")
    words = [message.id, message.key, message.correlation_id, record.error, record.frame, record.detail, *headers, text]
    return "\n".join(word for word in words if word)
