"""Keeping what is held: leases renewed in bulk, three times a lease, and judged by this process's own clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from waybill.adapter import Source
from waybill.errors import BrokerError
from waybill.holding import Held
from waybill.outcomes import Extended, Lost

__all__ = ["Leases"]


class Leases:
    """Renews the leases of what one consumer holds, and says which were lost."""

    def __init__(
        self,
        source: Source,
        lease: float,
        *,
        lock: asyncio.Lock,
        held: Callable[[], Sequence[Held]],
        lose: Callable[[Held], None],
        on_trouble: Callable[[str | None], None],
    ) -> None:
        """`on_trouble`: told why leases cannot be renewed, and `None` when they can be again."""
        self.source = source
        self._lease = lease
        self._lock = lock
        self._held = held
        self._lose = lose
        self._on_trouble = on_trouble
        self._failing = False

    async def beat(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(self._lease / 3)
            await self.renew(self._held())

    async def renew(self, helds: Sequence[Held]) -> None:
        leased = [held for held in helds if held.lease_until != float("inf") and not held.lost]
        if not leased and not self._failing:
            return  # with none, it only asks whether the broker is there again: whoever lost all must not seem well
        try:
            async with asyncio.timeout(self._lease / 3), self._lock:
                results = await self.source.extend([held.delivery for held in leased])
        except (BrokerError, TimeoutError) as error:
            self._failing = True
            self._on_trouble(f"leases cannot be renewed: {str(error) or 'no answer in time'}")
            results = ()
        else:
            self._failing = False
            self._on_trouble(None)
        for held, result in zip(leased, results, strict=False):
            if isinstance(result, Extended):
                held.lease_until = result.lease_until
            elif isinstance(result, Lost):
                self._lose(held)
        now = time.monotonic()
        for held in leased:
            if held.lease_until < now:
                self._lose(held)
