"""What was made before, kept while there is room."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Memo"]

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Values by keys. room: how much all of them may weigh together; when it is used up, all are given up. What weighs more
    than a hundredth of it is not kept."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.left = room
        self.values: dict[K, V] = {}
        self.get = self.values.get

    def keep(self, key: K, value: V, weight: int) -> V:
        """The value."""
        if weight * 100 > self.room:
            return value
        if weight > self.left:
            self.clear()
        self.left -= weight
        self.values[key] = value
        return value

    def clear(self) -> None:
        self.values.clear()
        self.left = self.room
