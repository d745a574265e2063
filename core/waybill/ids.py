"""Message ids: UUIDs as text (RFC 9562), written by hand because `uuid.UUID` costs four times as much."""

from __future__ import annotations

import hashlib
import os

__all__ = ["derived_id", "new_id"]

NAMESPACE = bytes.fromhex("6f0b8a529d0e5c7c8f433f5f0c1d7a11")
"""Of the ids of what handlers publish."""


def new_id() -> str:
    """A random id (version 4)."""
    return _text(os.urandom(16).hex(), "4")


def derived_id(name: str) -> str:
    """The id that always follows from `name` (version 5, in our namespace)."""
    return _text(
        hashlib.sha1(NAMESPACE + name.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest(), "5"
    )


def _text(digits: str, version: str) -> str:
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
