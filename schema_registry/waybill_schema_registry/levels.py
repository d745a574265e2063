"""The seven levels of compatibility, as data: who must be able to read whom, and how far back."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TypeAlias, TypeVar

__all__ = ["Direction", "Level"]

Direction: TypeAlias = Literal["backward", "forward"]
"""Who reads: `backward`, the new schema what was written with an old one; `forward`, the old one what the new one writes."""
V = TypeVar("V")


class Level(StrEnum):
    """What a new version of a subject must keep to.

    BACKWARD: who has the new schema reads what was written with the old. FORWARD: who has the old one reads what is written
    with the new. FULL: both. The plain ones look at the latest version, those with _TRANSITIVE at every version.
    """

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def backward(self) -> bool:
        """Whether the new schema must read what the old ones wrote."""
        return self.name.startswith(("BACKWARD", "FULL"))

    @property
    def forward(self) -> bool:
        """Whether the old schemas must read what the new one writes."""
        return self.name.startswith(("FORWARD", "FULL"))

    @property
    def transitive(self) -> bool:
        """Whether every version counts, not the latest alone."""
        return self.name.endswith("_TRANSITIVE")

    @property
    def directions(self) -> tuple[Direction, ...]:
        """In the order in which Confluent reports them."""
        return (*(("forward",) if self.forward else ()), *(("backward",) if self.backward else ()))

    def looked_at(self, history: Sequence[V]) -> Sequence[V]:
        """Of a history, oldest first: the versions that count, newest first."""
        return history[::-1] if self.transitive else history[-1:]
