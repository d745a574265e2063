"""Passwords and tokens as they are kept: hashed, so that the file of users is of no use to whoever reads it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

__all__ = ["hash_password", "hash_token", "is_hash", "verify"]

SCRYPT = "scrypt"
SHA256 = "sha256"
LENGTH = 32
"""Bytes of a hash."""
COST, BLOCK, LANES = 2**14, 8, 1
"""16 MB and some 50 ms a password (RFC 7914, section 2)."""


def hash_password(password: str) -> str:
    """`scrypt$cost$block$lanes$salt$hash`, slow to guess, with a salt of its own."""
    salt = os.urandom(16)
    return "$".join((SCRYPT, str(COST), str(BLOCK), str(LANES), _text(salt), _text(_scrypt(password, salt))))


def hash_token(token: str) -> str:
    """`sha256$hash`: fast to check. Only for tokens that nobody could guess, of 128 random bits and more."""
    return f"{SHA256}${hashlib.sha256(token.encode()).hexdigest()}"


def is_hash(text: str, kind: str) -> bool:
    """Whether a text is a hash of this kind that `verify` can work with."""
    if kind == SHA256:
        return text.startswith(f"{SHA256}$") and len(text) == len(SHA256) + 65
    parts = text.split("$")
    if len(parts) != 6 or parts[0] != SCRYPT or not all(part.isdecimal() for part in parts[1:4]):
        return False
    cost, block, lanes = map(int, parts[1:4])
    try:
        salt, expected = (base64.b64decode(part, validate=True) for part in parts[4:])
    except binascii.Error:
        return False
    whole = len(salt) >= 8 and len(expected) == LENGTH
    return whole and 0 < cost * block * lanes <= 2**22 and cost & (cost - 1) == 0 and cost > 1


def verify(password: str, kept: str) -> bool:
    """Whether it is the password of this `scrypt` hash. Takes as long for a wrong one."""
    _, cost, block, lanes, salt, expected = kept.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(cost), int(block), int(lanes))
    return hmac.compare_digest(found, base64.b64decode(expected))


def _scrypt(password: str, salt: bytes, cost: int = COST, block: int = BLOCK, lanes: int = LANES) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=cost, r=block, p=lanes, dklen=LENGTH, maxmem=256 * cost * block * lanes
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
