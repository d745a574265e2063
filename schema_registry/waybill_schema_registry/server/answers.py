"""What goes back to a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["Answer", "answered"]


@dataclass(frozen=True, slots=True)
class Answer:
    """type: where it is not what was negotiated. code: the `error_code` of an error."""

    status: int
    body: bytes
    type: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    code: int = 0


def answered(value: Any) -> Answer:
    """What an operation returned, as an answer: an `Answer` as it is, anything else as JSON."""
    return value if isinstance(value, Answer) else Answer(200, msgspec.json.encode(value))
