"""Keeping what is held: leases renewed in bulk, three times a lease, and judged by this process's own clock.

What has run out by that clock is lost, and given back besides, as soon as the source can be asked again: where one
heartbeat or one connection keeps all leases, the broker would keep it for as long as we live, and hand it to nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from waybill.adapter import Source
from waybill.errors import BrokerError, one_line
from waybill.holding import Held
from waybill.outcomes import Extended, ExtendResult, Lost
from waybill.redaction import redact

__all__ = ["Leases"]

log = logging.getLogger("waybill.leases")


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
        give_back: Callable[[Held], None],
        on_trouble: Callable[[str | None], None],
    ) -> None:
        """`lose`: told of each that is no longer ours; `give_back`, of those among them that the source may not know of.

        `on_trouble`: told why leases cannot be renewed, and `None` when they can be again.
        """
        self.source = source
        self._lease = lease
        self._lock = lock
        self._held = held
        self._lose = lose
        self._give_back = give_back
        self._on_trouble = on_trouble
        self._failing = False
        self._overdue: list[Held] = []
        """Lost by our own clock, while the source could not be asked."""

    async def beat(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(self._lease / 3)
            await self.renew(self._held())

    async def renew(self, helds: Sequence[Held]) -> None:
        leased = [held for held in helds if held.lease_until != float("inf") and not held.lost]
        if not leased and not self._failing:  # what is overdue is so since it failed
            return  # with none, it only asks whether the broker is there again: whoever lost all must not seem well
        for held, result in zip(leased, await self._extend(leased), strict=False):
            if isinstance(result, Extended):
                held.lease_until = result.lease_until
            elif isinstance(result, Lost):
                self._lose(held)
        now = time.monotonic()
        for held in leased:
            if held.lease_until < now and not held.lost:
                self._lose(held)
                if held.lost:  # not settled meanwhile
                    self._overdue.append(held)
        if not self._failing:
            self.give_back_overdue()

    def give_back_overdue(self) -> None:
        """Give back what was lost while the source could not be asked. Not later than anything is taken in: what the source hands
        out meanwhile may come after that."""
        overdue, self._overdue = self._overdue, []
        for held in overdue:
            self._give_back(held)

    async def _extend(self, leased: Sequence[Held]) -> Sequence[ExtendResult]:
        """A result each; none at all where the source cannot be asked."""
        try:
            async with asyncio.timeout(self._lease / 3), self._lock:
                results = await self.source.extend([held.delivery for held in leased])
        except (BrokerError, TimeoutError) as error:
            trouble = f"leases cannot be renewed: {str(error) or 'no answer in time'}"
        except Exception as error:  # an adapter's bug: said loudly, and tried again, since nobody else would
            log.exception("the adapter failed to renew leases")
            trouble = f"the adapter failed to renew leases: {one_line(error, redact)}"
        else:
            self._failing = False
            self._on_trouble(None)
            return results
        self._failing = True
        self._on_trouble(trouble)
        return ()
