"""Messages as rows and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from waybill import envelope
from waybill.message import NO_HEADERS, Message

__all__ = ["Row", "read", "write"]

Row: TypeAlias = tuple[str, str | None, bytes | None]
"""envelope, headers, body"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


def write(message: Message) -> Row:
    """The message as the columns envelope, headers and body."""
    headers = _encode(message.headers).decode() if message.headers else None
    return _encode(envelope.encode(message)).decode(), headers, message.body


def read(row: tuple[Any, ...], topic: str, now: float) -> Message:
    """The message of the columns envelope, headers and body. Raises `DecodeError`."""
    attributes, headers, body = row
    return envelope.decode(
        _decode(attributes),
        body,
        headers=NO_HEADERS if headers is None else _decode(headers),
        topic=topic,
        received=datetime.fromtimestamp(now, UTC),
    )
