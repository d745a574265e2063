"""Where a call costs money: how many a broker takes for what an application does with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from waybill.topology import Topology

__all__ = ["Called", "Calls", "CountsCalls"]


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of call, as many as are expected."""

    what: str
    """The call and what it is for: `PublishBatch, to orders.placed`."""
    per_million: float
    """For a million messages that are published to the topic."""
    idle_per_day: float = 0.0
    """While nothing happens."""


@runtime_checkable
class CountsCalls(Protocol):
    """An adapter whose broker is paid by the call. Offered beside `Adapter`."""

    def calls(self, topology: Topology, *, rate: float, size: int) -> Sequence[Calls]:
        """What the topology costs in calls. rate: messages a second, published to each topic. size: bytes of one. No I/O."""
        ...


@runtime_checkable
class Called(Protocol):
    """An adapter that counts the calls it makes. Offered beside `Adapter`."""

    @property
    def called(self) -> Mapping[str, int]:
        """Calls made so far, by their kind as the broker's bill has it: `SendMessageBatch`. Only ever more."""
        ...
