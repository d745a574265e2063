"""Wrong about what they can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from waybill.adapter import Capabilities
from waybill.errors import BrokerUnavailable
from waybill.topology import Topology
from waybill_contracts.mutants.publishing import ForgetsAPromise
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("X01")
class AsksTheBrokerForItsGaps(Wrapped):
    """What it cannot do it knows when it is connected."""

    connected = False

    async def opened(self) -> None:
        self.connected = True

    def gaps(self, topology: Topology) -> Sequence[str]:
        if not self.connected:
            raise BrokerUnavailable("it is not connected")
        return super().gaps(topology)


@mutant("X01")
class HasNoName(Wrapped):
    """What cannot do it is not said."""

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        return replace(can, broker="")


@mutant("X02")
class ClaimsWhatItCannot(Wrapped):
    """It says that it can hold up a partition, and does nothing of the kind."""

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        return replace(can, blocks_partition=True)


@mutant("X04")
class ClaimsAHistory(ForgetsAPromise):
    """It says that it keeps what was handled, and drops it."""

    forgotten: ClassVar[dict[str, Any]] = {"retention": None}


@mutant("X05")
class NeverAsksForTheVersion(Wrapped):
    """Whatever it is connected to is taken for the latest."""

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        return replace(can, version="")


@mutant("X05")
class FindsOutThatItCanMore(Wrapped):
    """It claims the least, and learns when it is connected what it can: too late for who has asked."""

    @property
    def claims(self) -> Capabilities:
        return replace(self.inner.claims, patterns=False, history=False)


@mutant("X05")
class TakesItForAnother(Wrapped):
    """The version it has found is not the one it is connected to."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.inner.capabilities, version="SQLite 3.0.0")
