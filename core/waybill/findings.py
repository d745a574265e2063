"""What an adapter finds when it looks at its broker, for `waybill doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from waybill.topology import Topology

__all__ = ["Diagnoses", "Finding", "KnowsRights"]


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


@runtime_checkable
class KnowsRights(Protocol):
    """An adapter, entered, that can tell what we may do on its broker."""

    async def rights(self, topology: Topology) -> Sequence[Finding]:
        """Whether we may publish to these topics and consume these groups; what is not there yet is nobody's trouble here.

        Changes nothing, and sends and takes nothing.
        """
        ...
