"""What was asked once and never changes, kept as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Kept"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Bounded in count and in bytes; what was not wanted for the longest time goes first."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._items.get(key)
        if found is None:
            return None
        self._items.move_to_end(key)
        return found[0]

    def keep(self, key: K, value: V, size: int) -> None:
        """size: bytes, about. One thing is always kept, however large."""
        self.drop(key)
        self._items[key] = (value, size)
        self._bytes += size
        while len(self._items) > 1 and (len(self._items) > self._most or self._bytes > self._most_bytes):
            self._bytes -= self._items.popitem(last=False)[1][1]

    def drop(self, key: K) -> None:
        if (found := self._items.pop(key, None)) is not None:
            self._bytes -= found[1]

    def __len__(self) -> int:
        return len(self._items)
