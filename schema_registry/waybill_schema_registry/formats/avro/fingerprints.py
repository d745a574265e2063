"""Fingerprints of schemas: over the UTF-8 of their canonical form (Avro 1.12, §Schema Fingerprints)."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["crc64", "md5", "sha256"]

EMPTY: Final = 0xC15D213AA4D7A795


def table() -> tuple[int, ...]:
    values: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (EMPTY if value & 1 else 0)
        values.append(value)
    return tuple(values)


TABLE: Final = table()


def crc64(text: str) -> int:
    """CRC-64-AVRO, the 64-bit Rabin fingerprint, as an unsigned number. Single-object headers have it little-endian."""
    value = EMPTY
    for byte in text.encode():
        value = (value >> 8) ^ TABLE[(value ^ byte) & 0xFF]
    return value


def md5(text: str) -> bytes:
    """16 bytes."""
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def sha256(text: str) -> bytes:
    """32 bytes."""
    return hashlib.sha256(text.encode()).digest()
