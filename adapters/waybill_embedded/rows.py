"""Messages as rows and back.

The column `message` holds everything but the body as one JSON object: the CloudEvents attributes by their names, `headers`,
and what a copy remembers on its way (attempts, redrives, the record of a dead letter). It can be read with any SQLite tool.
What a later version adds is guarded by the file's version, not by each row.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from waybill.errors import DecodeError
from waybill.message import Message

__all__ = ["read", "read_any", "write"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode
_replace = msgspec.structs.replace
_set = msgspec.structs.force_setattr


def write(message: Message) -> tuple[str, bytes | None]:
    """The message as the columns `message` and `body`."""
    body = message.body
    if message.headers:
        message = _replace(message, body=None, headers=dict(message.headers))
    elif body is not None:
        message = _replace(message, body=None)
    return _encode(message).decode(), body


def read(text: str, body: bytes | None) -> Message:
    """The message of the columns `message` and `body`. Raises `DecodeError`."""
    try:
        message = _decode(text)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DecodeError(f"the message's attributes cannot be read: {error}") from error
    _set(message, "body", body)  # nobody else has seen it yet
    _set(message, "due", None)
    return message


def read_any(text: str, body: bytes | None, *, number: int, topic: str, key: str | None = None) -> Message:
    """Like `read`; but where the attributes cannot be read, a stand-in, so that the bytes end among the dead letters."""
    try:
        return read(text, body)
    except DecodeError as error:
        return Message(
            id=f"unreadable-{number}",
            body=body,
            type=topic,
            source="",
            time=datetime.now(UTC),
            key=key,
            headers={"unreadable": str(error)},
            content_type="application/x-unreadable",
        )
