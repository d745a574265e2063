"""Messages as rows and back.

The column `message` holds everything but the body as one JSON object: the CloudEvents attributes by their names, `headers`,
and what a copy remembers on its way (attempts, redrives, the record of a dead letter). It can be read with any SQLite tool.
What a later version adds is guarded by the file's version, not by each row.

Other programs may write rows too, and write what they like:

- A header that is no text is given as its JSON.
- A count below nothing is nothing; a larger one than `MOST` is `MOST`.
- A time without a zone is UTC.
- Whatever else the attributes are not, they cannot be read, and the message becomes a dead letter with its body and them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from waybill.envelope import unreadable, utc
from waybill.errors import DecodeError
from waybill.message import Message

__all__ = ["read", "read_any", "write"]

OURS = '{"specversion":"1.0",'
"""How a row begins that this module wrote."""
LONGEST_ID = 256
MOST = 1 << 31

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode
_decode_members = msgspec.json.Decoder(dict[str, Any]).decode
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
        try:
            message = _decode(text)
        except msgspec.ValidationError:
            message = _with_raw_headers(text)
        if body is None or not text.startswith(OURS):
            _check_members(text)
        _check(message)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise DecodeError(f"the message's attributes cannot be read: {error}") from error
    _set(message, "body", body)  # nobody else has seen it yet
    _set(message, "due", None)
    return message


def read_any(
    text: str, body: bytes | None, *, number: int, topic: str, key: str | msgspec.UnsetType | None = msgspec.UNSET
) -> Message:
    """Like `read`; but where the attributes cannot be read, a stand-in, so that the bytes end among the dead letters.

    `key`: that of the row's own column, by which its lease was taken, whatever the attributes say.
    """
    try:
        message = read(text, body)
    except DecodeError as error:
        message = unreadable(
            body, str(error), ident=f"unreadable-{number}", topic=topic, received=datetime.now(UTC), raw=text
        )
    if key is not msgspec.UNSET and key != message.key:
        _set(message, "key", key)
    return message


# ---------------------------------------------------------------- what others have written


def _with_raw_headers(text: str) -> Message:
    members = _decode_members(text)
    headers: Any = members.get("headers")
    if isinstance(headers, dict):
        members["headers"] = {name: _as_text(value) for name, value in cast("dict[str, object]", headers).items()}
    return msgspec.convert(members, Message)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def _check_members(text: str) -> None:
    members = _decode_members(text)
    if "specversion" not in members:
        raise ValueError("Object missing required field `specversion`")
    if found := {"data", "data_base64"} & members.keys():
        raise ValueError(f"the body has a column of its own: not in {' and '.join(sorted(found))}")


def _check(message: Message) -> None:
    if not 0 < len(message.id) <= LONGEST_ID or not message.id.isprintable():
        raise ValueError(f"an id is 1 to {LONGEST_ID} printable characters")
    if message.attempts or message.redrives:
        _set(message, "attempts", min(max(0, message.attempts), MOST))
        _set(message, "redrives", min(max(0, message.redrives), MOST))
    if message.time.tzinfo is not UTC:
        _set(message, "time", utc(message.time))
    for name in ("expires", "first_failure") if message.expires or message.first_failure else ():
        instant: datetime | None = getattr(message, name)
        if instant is not None and instant.tzinfo is not UTC:
            _set(message, name, utc(instant))
