"""Letters from a file back to dead letters: of the group they came from, or of another one, at any broker.

What `waybill.letters.export` has written is read line by line. Who has a letter already keeps it as it is, so that a file may be
imported twice, and an import that was cut goes on where it was.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

import msgspec

from waybill import envelope
from waybill.adapter import Adapter
from waybill.dlq.index import Index
from waybill.dlq.model import OPEN, Key
from waybill.errors import BrokerError, ConfigurationError, DecodeError
from waybill.message import DeadLetterRecord, Message
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.topology import Destination, Subscription

__all__ = ["Imported", "Line", "Met", "bring", "known_to", "read"]

BATCH = 500
"""Letters sent at once."""
PATIENCE = 30.0
"""Seconds that the broker is given for them."""


class Line(msgspec.Struct, frozen=True):
    """One exported letter."""

    topic: str
    group: str
    message: Message


class Imported(msgspec.Struct, frozen=True):
    """What became of the letters of a file."""

    written: int = 0
    known: int = 0
    """There already, and left as they are."""
    refused: int = 0
    unknown: int = 0
    """May be there: importing them again may make a second copy of the same id."""
    cause: str = ""
    """Why the first was not written."""


class _Exported(msgspec.Struct):
    topic: str
    group: str
    attributes: dict[str, str]
    record: DeadLetterRecord
    body: str | None
    body_encoding: Literal["utf-8", "base64"] | None
    headers: dict[str, str] = {}
    redrives: int = 0
    redrive: str | None = None
    edit_of: str | None = None


_decode = msgspec.json.Decoder(_Exported).decode


def read(lines: Iterable[bytes]) -> Generator[Line, None, None]:
    """The letters of an export. Raises `ConfigurationError` with the number of a line that is none."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _line(_decode(line))
        except (msgspec.MsgspecError, DecodeError, binascii.Error, ValueError, RecursionError) as error:
            raise ConfigurationError(f"line {number} is no exported dead letter: {error}") from error


def _line(told: _Exported) -> Line:
    body = None if told.body is None else told.body.encode()
    if told.body_encoding == "base64":
        body = base64.b64decode(body or b"", validate=True)
    message = envelope.decode(told.attributes, body, headers=told.headers, topic=told.topic, received=datetime.now(UTC))
    if not told.attributes.get("id"):
        raise ValueError("it has no id")
    message = msgspec.structs.replace(
        message, dead=told.record, redrives=max(0, told.redrives), redrive=told.redrive, edit_of=told.edit_of
    )
    return Line(told.topic, told.group, message)


def known_to(index: Index, subscription: Subscription) -> Callable[[Message], bool]:
    """Whether a letter is among the group's already, by an index that has just been collected."""

    def is_known(message: Message) -> bool:
        letter = index.get(Key(subscription.topic.name, subscription.group, message.id))
        return letter is not None and letter.state in OPEN and letter.gone is None

    return is_known


class Met:
    """The letters that one import has come to, in a file of its own that goes with it: they may be more than memory holds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def empty(cls) -> Generator[Met, None, None]:
        with closing(sqlite3.connect("", isolation_level=None)) as connection:
            connection.execute("CREATE TABLE met (name TEXT, id TEXT, PRIMARY KEY (name, id)) WITHOUT ROWID")
            yield cls(connection)

    def before(self, name: str, known: Callable[[Message], bool]) -> Callable[[Message], bool]:
        """Whether a letter is `known`, or stood in the file before, for that group."""

        def met(message: Message) -> bool:
            added = self._connection.execute("INSERT OR IGNORE INTO met VALUES (?, ?)", (name, message.id)).rowcount
            return added == 0 or known(message)

        return met


async def bring(
    adapter: Adapter,
    subscription: Subscription,
    messages: Iterable[Message],
    *,
    known: Callable[[Message], bool],
) -> Imported:
    """Write these among the group's dead letters, each as it was. known: says of a letter that it is there already.

    Its record tells the topic and group that it lies in now, and as its place those that it lay in. Raises `BrokerError` when
    nothing can be sent at all.
    """
    so_far = Imported()
    destination = Destination("dead", subscription.topic, subscription.group)
    async with adapter.sink(destination) as sink:
        for chunk in _chunks(iter(messages)):
            fresh = [_moved(message, subscription) for message in chunk if not known(message)]
            results: Sequence[SendResult] = ()
            if fresh:
                try:
                    results = await sink.send(fresh, deadline=asyncio.get_running_loop().time() + PATIENCE)
                except BrokerError as error:
                    results = [Unknown(str(error))] * len(fresh)
            so_far = _counted(so_far, results, known=len(chunk) - len(fresh))
    return so_far


def _chunks(messages: Iterator[Message]) -> Generator[list[Message], None, None]:
    while chunk := list(islice(messages, BATCH)):
        yield chunk


def _moved(message: Message, to: Subscription) -> Message:
    record = message.dead
    here = (to.topic.name, to.group)
    if record is None or (record.topic, record.group) == here:
        return message
    place = record.place or f"{record.topic}/{record.group}"
    moved: Any = msgspec.structs.replace(record, topic=here[0], group=here[1], place=place)
    return msgspec.structs.replace(message, dead=moved)


def _counted(so_far: Imported, results: Sequence[SendResult], *, known: int) -> Imported:
    refused = [result.reason for result in results if isinstance(result, Refused)]
    unknown = [result.cause for result in results if isinstance(result, Unknown)]
    return Imported(
        written=so_far.written + sum(isinstance(result, Confirmed) for result in results),
        known=so_far.known + known,
        refused=so_far.refused + len(refused),
        unknown=so_far.unknown + len(unknown),
        cause=so_far.cause or next(iter([*refused, *unknown]), ""),
    )
