"""Wrong about what was handled."""

from __future__ import annotations

from msgspec.structs import replace

from waybill.adapter import Capabilities
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("Y01", "Y02")
class ClaimsThatItsPastCanBeRead(Wrapped):
    """It says that what it has kept can be read again, and has no way to."""

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        return replace(can, replays=True)
