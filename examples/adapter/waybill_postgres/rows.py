"""A message as columns, and back. `attributes` is a JSON object: the CloudEvents attributes, and the user's headers."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from waybill.envelope import decode, encode, unreadable
from waybill.errors import DecodeError
from waybill.message import Message

__all__ = ["read", "write"]


class Attributes(msgspec.Struct):
    """The column `attributes`. Other programs may leave all of it out."""

    attributes: dict[str, str] = {}
    headers: dict[str, str] = {}


def write(message: Message) -> bytes:
    """The column `attributes`. Raises `ValueError` for what JSON cannot hold."""
    message = msgspec.structs.replace(message, due=None)  # it has a column of its own
    return msgspec.json.encode(Attributes(encode(message), dict(message.headers)))


def read(attributes: bytes, body: bytes | None, *, number: int, topic: str) -> Message:
    """The message; or where its attributes cannot be read a stand-in, so that the bytes end among the dead letters."""
    ident, now = f"{topic}-{number}", datetime.now(UTC)
    try:
        found = msgspec.json.decode(attributes, type=Attributes)
        return decode({"id": ident, **found.attributes}, body, headers=found.headers, topic=topic, received=now)
    except (msgspec.MsgspecError, ValueError, DecodeError) as error:
        raw = attributes.decode(errors="backslashreplace")
        return unreadable(body, str(error), ident=ident, topic=topic, received=now, raw=raw)
