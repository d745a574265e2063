"""Wrong about how the broker is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from waybill.adapter import Notify, Source, Stalled
from waybill.errors import BrokerError
from waybill.outcomes import Settled, SettlementKind, SettleResult
from waybill.topology import Subscription
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("V03")
class SaysNothingOfAnOutage(Wrapped):
    """While the broker is away, what is settled waits until it is back, and nobody is told."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        while True:
            try:
                return await super().do_settle(source, subscription, settled)
            except BrokerError as error:
                self.tell(error)
                await asyncio.sleep(0.2)

    def tell(self, error: BrokerError) -> None:
        del error


@mutant("V03")
class SaysNotThatItIsOver(SaysNothingOfAnOutage):
    """That the broker is away is told, and that it is back is not."""

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        self._notify = notify
        async with super().source(subscription, window=window, notify=notify) as source:
            yield source

    def tell(self, error: BrokerError) -> None:
        self._notify(Stalled(str(error)))


@mutant("V03")
class AsksTheBrokerWhatItDoes(Wrapped):
    """Whoever looks at what it does by itself has the broker asked for it."""

    @property
    def native_settlements(self) -> frozenset[SettlementKind]:
        self._asking = asyncio.ensure_future(self.is_slow(1.0))
        return super().native_settlements
