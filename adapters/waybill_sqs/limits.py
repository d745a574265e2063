"""What a message and a call of SQS and SNS may hold, checked before anything is sent. Pure.

Source: the API references of SendMessageBatch and PublishBatch, November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from waybill.envelope import RESERVED

__all__ = [
    "BATCH",
    "ENVELOPE",
    "LONGEST_DELAY",
    "LONGEST_HIDE",
    "MOST_BYTES",
    "carried",
    "is_carried",
    "split",
    "weight",
]

BATCH = 10
"""Entries of a call."""
MOST_BYTES = 1 << 20
"""Of a message, and of all of a call, with attributes."""
MOST_ATTRIBUTES = 10
ENVELOPE = 64 << 10
"""Bytes that are kept free beside a body for the envelope and the headers."""
LONGEST_DELAY = 900
"""Seconds that a queue which is not FIFO keeps a message back."""
LONGEST_HIDE = 12 * 3600
"""Seconds that a message can be hidden from when it was received."""
UNCARRIED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no character of XML 1.0, and so in no body and no attribute."""
NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")


class Weighed(Protocol):
    @property
    def size(self) -> int: ...


W = TypeVar("W", bound=Weighed)


def carried(text: str) -> bool:
    """Whether it can be a body, or an attribute's value, as it is."""
    return bool(text) and UNCARRIED.search(text) is None


def is_carried(name: str, value: str) -> bool:
    """Whether a header can be an attribute of its own."""
    return carried(value) and NAME.fullmatch(name) is not None and name.lower() not in RESERVED


def weight(body: str, attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes that AWS counts: the body, and of each attribute its name, type and value."""
    size = len(body) if body.isascii() else len(body.encode())
    for name, attribute in attributes.items():
        value: str = attribute["StringValue"]
        size += len(name) + len(attribute["DataType"]) + (len(value) if value.isascii() else len(value.encode()))
    return size


def split(entries: Sequence[W], *, most: int = BATCH, most_bytes: int = MOST_BYTES) -> int:
    """How many of the first entries fit one call; at least one of any."""
    size = 0
    for number, entry in enumerate(entries[:most]):
        size += entry.size
        if number and size > most_bytes:
            return number
    return min(len(entries), most)
