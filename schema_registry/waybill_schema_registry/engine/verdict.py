"""What comes of asking whether a schema may follow those before it."""

from __future__ import annotations

import msgspec

from waybill_schema_registry.compatibility import LevelReport

__all__ = ["Compatibility"]


class Compatibility(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a schema may follow. messages: what Confluent's `verbose=true` says; empty where it is compatible.

    report: its steps' `version` is the number of the version, not its place in the history.
    """

    compatible: bool
    messages: tuple[str, ...] = ()
    report: LevelReport | None = None

    @property
    def weight(self) -> int:
        """Bytes that it takes, roughly."""
        return 1000 + 4 * sum(map(len, self.messages))
