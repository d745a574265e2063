"""What an adapter finds when it looks at its broker, for `waybill doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

__all__ = ["Diagnoses", "Finding"]


class Finding(msgspec.Struct, frozen=True):
    """One fact, and what is wrong with it, if anything is."""

    what: str
    value: str
    trouble: str | None = None
    """What it leads to; `None`: nothing is wrong."""
    fix: str | None = None
    """What to do about it; `None` where the trouble says so itself."""


@runtime_checkable
class Diagnoses(Protocol):
    """An adapter that can look at its broker."""

    async def diagnose(self) -> Sequence[Finding]:
        """Look, within some seconds. The adapter need not be entered; nothing is changed or made.

        Does not raise for what is wrong with the broker: that is a finding.
        """
        ...
