"""Answers kept as bytes, with what they depend on.

What an id stands for never changes while it stands; all else about a subject is right as long as the engine's stamp of it is
the same. Both are asked at each use, after the engine has learnt what others committed: an answer is never stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.server.rights import EVERYBODY, Right, User

__all__ = ["SMALL", "Entry", "Kept", "Key"]

Key: TypeAlias = tuple[str, bytes, bytes, bytes, bytes]
"""Method, path, query, `Accept`, body."""

OVERHEAD = 1200
"""Bytes of an entry beside its bodies, roughly."""
SMALL = 64 * 1024
"""Bytes of a request that is looked for among what is kept. A server buffers as much for each connection anyway."""
LARGEST = 256 * 1024
"""Bytes of an answer, with its request, that is kept at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """operation: its name. id: which must stand in `place`. stamp: of `subject`; without one, the engine's `serial`."""

    operation: str
    start: dict[str, Any]
    body: dict[str, Any]
    right: Right = Right.READ
    subject: str | None = None
    stamp: object | None = None
    id: int = 0
    place: str | None = None

    def right_now(self, engine: Engine) -> bool:
        """Whether it is what the engine would answer, as of its last `refresh`."""
        if self.subject is not None:
            return engine.stamp(self.subject) == self.stamp
        return engine.serial == self.stamp and engine.stands(self.id, self.place)

    def open_to(self, user: User) -> bool:
        if user is EVERYBODY:
            return True
        return user.reads_all if self.subject is None else user.right(self.subject) >= self.right


class Kept:
    """Bounded by bytes; what came first goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[Key, Entry] = {}
        self.size = 0
        self.hits = 0
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Key, entry: Entry) -> None:
        if len(entry.body["body"]) + len(key[4]) > min(LARGEST, self._limit):
            return
        self.drop(key)
        self._entries[key] = entry
        self.size += _size(key, entry)
        while self.size > self._limit:
            self.drop(next(iter(self._entries)))

    def drop(self, key: Key) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self.size -= _size(key, entry)


def _size(key: Key, entry: Entry) -> int:
    return OVERHEAD + sum(map(len, key)) + len(entry.body["body"])
