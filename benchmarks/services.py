"""Applications that the benchmarks run as real processes: `waybill run benchmarks.services:idle`."""

from __future__ import annotations

import asyncio

from benchmarks.payload import ORDERS, Order
from waybill import App, Topic

__all__ = ["SUBSCRIPTIONS", "idle", "slow"]

SUBSCRIPTIONS = 10

idle = App("bench")
"""Has nothing to do: nobody publishes to its topics."""
slow = App("bench")
"""Far slower than what waits for it."""


async def _wait_for_work(order: Order) -> None:
    raise LookupError("nobody publishes to these topics")


for _number in range(SUBSCRIPTIONS):
    idle.consume(Topic(f"bench.idle-{_number}", Order))(_wait_for_work)


@slow.consume(ORDERS)
async def take_long(order: Order) -> None:
    await asyncio.sleep(0.05)
