"""A cache that holds no more than so many bytes: what was used longest ago goes first."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Bounded"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Bounded(Generic[Key, Value]):
    """most: the bytes it may hold, as `put` was told of them. What alone is more than that is not held."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._entries: dict[Key, tuple[Value, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        found = self._entries.pop(key, None)
        if found is None:
            return None
        self._entries[key] = found
        return found[0]

    def put(self, key: Key, value: Value, weight: int) -> None:
        self.drop(key)
        if weight > self.most:
            return
        self._entries[key] = (value, weight)
        self.held += weight
        while self.held > self.most:
            self.drop(next(iter(self._entries)))

    def drop(self, key: Key) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self.held -= found[1]

    def clear(self) -> None:
        self._entries.clear()
        self.held = 0
