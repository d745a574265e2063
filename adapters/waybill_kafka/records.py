"""A message as a Kafka record, and back: CloudEvents attributes as headers `ce_…`, as their Kafka binding says. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from waybill import envelope
from waybill.errors import DecodeError
from waybill.message import Message

__all__ = ["DUE", "Headers", "key_of", "read", "size", "text_of", "when", "write"]

Headers = Sequence[tuple[str, bytes | None]]

PREFIX = "ce_"
TRANSIT = "waybill"
DUE = "waybill-due"
"""On what waits: when it may go on, in milliseconds since the epoch."""
HEADER_OF = {name: PREFIX + name for name in envelope.RESERVED} | {
    "datacontenttype": "content-type",
    "waybill": TRANSIT,
}
"""An attribute's header."""
LASTING = frozenset({"specversion", "source", "type", "datacontenttype", "dataschema"})
"""Attributes that most of a topic's messages have in common."""
ATTRIBUTE_OF = {header: name for name, header in HEADER_OF.items()}
OVERHEAD = 64
"""Bytes that a record and each header take beside their texts, at most."""


def write(message: Message) -> list[tuple[str, bytes]]:
    """The headers of a record. Its key and value are the message's key and body."""
    headers = [
        _lasting(name, value) if name in LASTING else (HEADER_OF[name], value.encode())
        for name, value in envelope.encode(message).items()
    ]
    if message.headers:
        headers += [(name, value.encode()) for name, value in message.headers.items()]
    return headers


@lru_cache(maxsize=1000)
def _lasting(name: str, value: str) -> tuple[str, bytes]:
    return HEADER_OF[name], value.encode()


def key_of(message: Message) -> bytes | None:
    return None if message.key is None else message.key.encode()


def size(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> int:
    """Bytes of the record, at most."""
    carried = OVERHEAD + len(key or b"") + len(value or b"")
    for name, text in headers:
        carried += len(name if name.isascii() else name.encode()) + len(text) + 10
    return carried


def read(
    key: bytes | None, value: bytes | None, headers: Headers, *, topic: str, published: datetime, ident: str = ""
) -> Message:
    """The message of a record. Whatever cannot be read becomes a stand-in that is a dead letter. ident: its id, if it has none."""
    attributes: dict[str, str] = {}
    users: dict[str, str] = {}
    for name, raw in headers:
        try:
            text = raw.decode() if raw else ""
        except UnicodeDecodeError:
            text = envelope.as_text(raw)
        if (attribute := ATTRIBUTE_OF.get(name)) is not None:
            attributes[attribute] = text
        elif name.startswith(PREFIX):
            attributes[name[3:]] = text
        elif name != DUE:
            users[name] = text
    if ident and not attributes.get("id"):
        attributes["id"] = ident
    if key is not None and "partitionkey" not in attributes:
        attributes["partitionkey"] = envelope.as_text(key)
    try:
        message = envelope.decode(attributes, value, headers=users, topic=topic, received=published)
    except DecodeError as error:
        ident, kept = attributes.get("id") or str(uuid.uuid4()), attributes.get(TRANSIT, "")[:16384]
        return envelope.unreadable(
            value,
            str(error),
            ident=ident,
            topic=topic,
            received=published,
            key=attributes.get("partitionkey"),
            raw=kept,
        )
    return message if message.due is None else msgspec.structs.replace(message, due=None)


def text_of(headers: Headers, wanted: str) -> str | None:
    """The text of a header."""
    for name, raw in headers:
        if name == wanted and raw is not None:
            return raw.decode("utf-8", "replace")
    return None


def when(timestamp: int | None) -> datetime:
    """A record's timestamp, in milliseconds; what is no time on earth counts as now."""
    return _at(timestamp or 0) or datetime.now(UTC)


@lru_cache(maxsize=64)
def _at(timestamp: int) -> datetime | None:
    return envelope.at(timestamp / 1000)  # records of one batch have few
