"""AMQP 0-9-1 as bytes: a publish as its frames, acknowledgements, and the properties of a message. Pure.

Written out, since this is done once a message: the library's own encoder takes as long as the rest of a publish together.
What is read may come from anybody, so whatever does not fit raises `ValueError`, and nothing else.
Source: AMQP 0-9-1, 4.2 (frames, field tables), and RabbitMQ's errata for the types of fields.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

__all__ = ["Properties", "acks", "nacks", "properties", "publish", "read"]

DEEPEST = 16
"""Tables within tables that are read."""

FRAME: Final = struct.Struct(">BHI")
LONG: Final = struct.Struct(">I")
TAG: Final = struct.Struct(">Q")
CONTENT: Final = struct.Struct(">HHQ")
END: Final = b"\xce"
TEXT: Final = 0x53

FLAGS: Final = (
    "content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to",
    "expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id",
)  # fmt: skip
"""The properties, in the order of their bits and of their bytes."""
SHORT: Final = frozenset(FLAGS) - {"headers", "delivery_mode", "priority", "timestamp"}


class Properties(msgspec.Struct, frozen=True):
    """What a message says of itself: `values` by the names of `FLAGS`, and its headers."""

    values: Mapping[str, Any]
    headers: Mapping[str, Any]


# ---------------------------------------------------------------- writing


def short(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"{text[:40]!r}… has {len(data)} bytes, and this field carries 255")
    return bytes((len(data),)) + data


def field(name: str, value: str) -> bytes:
    """One text of a table."""
    data = value.encode()
    return b"%b\x53%b%b" % (short(name), LONG.pack(len(data)), data)


def number_field(name: str, value: int) -> bytes:
    return b"%b\x6c%b" % (short(name), TAG.pack(value))


def properties(table: bytes, *, content_type: str | None, message_id: str | None) -> bytes:
    """The properties of a message that is kept on disk."""
    flags = 0x3000
    parts = [b"", b"", LONG.pack(len(table)), table, b"\x02", b""]
    if content_type is not None:
        flags |= 0x8000
        parts[1] = short(content_type)
    if message_id is not None:
        flags |= 0x0080
        parts[5] = short(message_id)
    parts[0] = flags.to_bytes(2)
    return b"".join(parts)


def publish(channel: int, method: bytes, header: bytes, body: bytes, most: int) -> bytes:
    """All frames of one publish. `method`: from `method`. `header`: from `properties`. `most`: bytes a frame may have."""
    size = len(body)
    content = CONTENT.pack(60, 0, size) + header
    if len(content) + 8 > most:
        raise ValueError(f"its headers take {len(content)} bytes, and a frame of this broker carries {most}")
    parts = [method, FRAME.pack(2, channel, len(content)), content, END]
    room = most - 8
    if size <= room:
        if size:
            parts += (FRAME.pack(3, channel, size), body, END)
    else:
        for start in range(0, size, room):
            piece = body[start : start + room]
            parts += (FRAME.pack(3, channel, len(piece)), piece, END)
    return b"".join(parts)


def method(channel: int, exchange: str, routing_key: str, *, mandatory: bool) -> bytes:
    """The frame that begins a publish."""
    payload = b"\x00\x3c\x00\x28\x00\x00" + short(exchange) + short(routing_key) + (b"\x01" if mandatory else b"\x00")
    return FRAME.pack(1, channel, len(payload)) + payload + END


def acks(channel: int, tags: Iterable[tuple[int, bool]]) -> bytes:
    """Acknowledge these deliveries, each alone or (`True`) with all before it."""
    head = FRAME.pack(1, channel, 13) + b"\x00\x3c\x00\x50"
    return b"".join(b"%b%b%c\xce" % (head, TAG.pack(tag), multiple) for tag, multiple in tags)


def nacks(channel: int, tags: Iterable[int]) -> bytes:
    """Give these deliveries back."""
    head = FRAME.pack(1, channel, 13) + b"\x00\x3c\x00\x78"
    return b"".join(b"%b%b\x02\xce" % (head, TAG.pack(tag)) for tag in tags)


# ---------------------------------------------------------------- reading


def read(raw: bytes) -> Properties:
    """The properties behind a content header's sizes. Raises `ValueError` for what is no such thing."""
    try:
        return _read(raw)
    except (IndexError, struct.error) as error:
        raise ValueError("the properties end in the middle") from error


def _read(raw: bytes) -> Properties:
    flags, at = int.from_bytes(_take(raw, 0, 2)), 2
    if flags & 1:
        raise ValueError("it has properties that AMQP 0-9-1 does not know")
    values: dict[str, Any] = {}
    headers: Mapping[str, Any] = {}
    for bit, name in enumerate(FLAGS):
        if not flags & 0x8000 >> bit:
            continue
        if name in SHORT:
            values[name], at = _short(raw, at)
        elif name == "headers":
            headers, at = _table(raw, at, 0)
        elif name == "timestamp":
            values[name], at = int.from_bytes(_take(raw, at, 8)), at + 8
        else:
            values[name], at = raw[at], at + 1
    return Properties(values, headers)


def _take(raw: bytes, at: int, size: int) -> bytes:
    data = raw[at : at + size]
    if len(data) != size:
        raise ValueError("a field ends beyond the frame")
    return data


def _short(raw: bytes, at: int) -> tuple[str, int]:
    start = at + 1
    end = start + raw[at]
    if end > len(raw):
        raise ValueError("a field ends beyond the frame")
    return raw[start:end].decode(), end


def _table(raw: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    at, end = _bounds(raw, at, depth)
    table: dict[str, Any] = {}
    while at < end:
        name, at = _short(raw, at)
        table[name], at = _value(raw, at, depth)
    if at != end:
        raise ValueError("a table ends in the middle of a field")
    return table, at


def _array(raw: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    at, end = _bounds(raw, at, depth)
    items: list[Any] = []
    while at < end:
        item, at = _value(raw, at, depth)
        items.append(item)
    if at != end:
        raise ValueError("an array ends in the middle of a field")
    return items, at


def _bounds(raw: bytes, at: int, depth: int) -> tuple[int, int]:
    if depth > DEEPEST:
        raise ValueError(f"it has tables within tables, more than {DEEPEST} deep")
    end = at + 4 + int.from_bytes(_take(raw, at, 4))
    if end > len(raw):
        raise ValueError("a table ends beyond the frame")
    return at + 4, end


def _value(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    if raw[at] == TEXT:  # nearly all of them: read here, without a step further
        start = at + 5
        end = start + int(LONG.unpack_from(raw, at + 1)[0])
        if end > len(raw):
            raise ValueError("a field ends beyond the frame")
        return raw[start:end].decode("utf-8", "backslashreplace"), end
    kind = raw[at : at + 1]
    at += 1
    if kind in FIXED:
        size, decode = FIXED[kind]
        return decode(_take(raw, at, size)), at + size
    if kind == b"F":
        return _table(raw, at, depth + 1)
    if kind == b"A":
        return _array(raw, at, depth + 1)
    if kind == b"x":
        size = int.from_bytes(_take(raw, at, 4))
        return _take(raw, at + 4, size), at + 4 + size
    raise ValueError(f"it has a field of the unknown type {kind!r}")


def _signed(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


def _double(data: bytes) -> float:
    value: float = struct.unpack(">d" if len(data) == 8 else ">f", data)[0]
    return value


def _decimal(data: bytes) -> float:
    value: float = int.from_bytes(data[1:], signed=True) * 10.0 ** -data[0]
    return value


FIXED: Final[Mapping[bytes, tuple[int, Callable[[bytes], Any]]]] = {
    b"t": (1, lambda data: data != b"\x00"),
    b"b": (1, _signed),
    b"B": (1, int.from_bytes),
    b"s": (2, _signed),
    b"u": (2, int.from_bytes),
    b"I": (4, _signed),
    b"i": (4, int.from_bytes),
    b"l": (8, _signed),
    b"L": (8, _signed),
    b"f": (4, _double),
    b"d": (8, _double),
    b"D": (5, _decimal),
    b"T": (8, int.from_bytes),
    b"V": (0, lambda _: None),
}
"""Fields of a fixed size, by their type."""
