"""Where a message belongs on a broker that names and numbers its places: names cut to fit, and the partition of a key. Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache

__all__ = ["fitted", "murmur2", "partition_of", "stem"]

DIGEST = 20
"""Characters."""


def fitted(name: str, longest: int, mark: str = "@") -> str:
    """Itself, or where that has more than `longest` characters its beginning, `mark` and a digest of all of it.

    `mark`: one character that the broker allows, and that is in no name at this place.
    """
    if len(name) <= longest:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=DIGEST // 2).hexdigest()
    return f"{stem(name, longest)}{mark}{digest}"


def stem(begin: str, longest: int) -> str:
    """What the names begin with that `fitted` makes of those that begin so."""
    return begin[: longest - DIGEST - 1]


@lru_cache(maxsize=10_000)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's clients choose it: murmur2, without its sign."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 with the seed of Kafka's clients."""
    mask, mix = 0xFFFFFFFF, 0x5BD1E995
    value = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        part = int.from_bytes(data[start : start + 4], "little") * mix & mask
        part = (part ^ part >> 24) * mix & mask
        value = (value * mix & mask) ^ part
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * mix & mask
    value = (value ^ value >> 13) * mix & mask
    return value ^ value >> 15
