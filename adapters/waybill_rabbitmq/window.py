"""What was delivered on one channel and is not settled, and how to settle it in few frames. Pure."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["Window"]


class Window:
    """Delivery tags in the order they came."""

    __slots__ = ("_tags",)

    def __init__(self) -> None:
        self._tags: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, tag: int) -> bool:
        return tag in self._tags

    def add(self, tag: int) -> None:
        self._tags[tag] = None

    def remove(self, tag: int) -> None:
        self._tags.pop(tag, None)

    def acknowledge(self, tags: Collection[int]) -> list[tuple[int, bool]]:
        """The acknowledgements for these: one for all up to where something is unsettled, and one each for the others."""
        settled = set(tags)
        prefix: list[int] = []
        for tag in self._tags:
            if tag not in settled:
                break
            prefix.append(tag)
        for tag in settled:
            self._tags.pop(tag, None)
        if not prefix:
            return [(tag, False) for tag in sorted(settled)]
        settled.difference_update(prefix)
        return [(prefix[-1], len(prefix) > 1), *((tag, False) for tag in sorted(settled))]
