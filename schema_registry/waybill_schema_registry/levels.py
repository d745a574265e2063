"""The seven levels of compatibility, as data: who must be able to read whom, and how far back."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Level"]


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
