"""Dead letters once more: how many a second, and whether an asked rate is kept.

What is counted is letters whose copies are confirmed and flushed to the disk, by the wall clock. The handler that made
them dead letters rejected all it was given.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from statistics import median

from benchmarks.consume import PATIENCE, preload
from benchmarks.embedded import application, copied, remove
from benchmarks.harness import Row, Run, alone
from benchmarks.payload import ORDERS, Order
from waybill import App, Batch, Reject
from waybill.redrive import redrive

__all__ = ["measure"]

LETTERS = 100_000
RATE = 2_000
SECONDS = 5
ROUNDS = 3


def measure(run: Run) -> list[Row]:
    """Letters a second."""
    count = run.messages(LETTERS)
    at_rate = run.messages(RATE * SECONDS)
    with remove(run.folder / "letters") as folder:
        bus = folder / "bus.db"
        preload(bus, count)
        asyncio.run(_reject(application(bus, sync="normal"), count))
        fast = median(_redriven(bus, run.folder, count, None) for _ in range(ROUNDS))
        slow = _redriven(bus, run.folder, at_rate, RATE)
    return [
        alone(f"redrive of {count:,} dead letters", "letters/s wall", fast, at_least=5_000),
        alone(f"redrive at {RATE:,} a second: off by", "%", abs(slow / RATE - 1) * 100, at_most=5),
    ]


def _consuming(app: App) -> None:
    @app.consume(ORDERS, batch=Batch(500))
    async def reject(orders: list[Order]) -> None:
        raise Reject("not today")


async def _reject(app: App, count: int) -> None:
    """Consume until all of them are dead letters."""
    _consuming(app)
    (registration,) = app.registrations
    logging.disable(logging.WARNING)  # a line for each of them
    try:
        async with asyncio.timeout(PATIENCE), app.running(), app.admin() as admin:
            while (await admin.backlog(registration.subscription)).dead.value != count:
                await asyncio.sleep(0.1)
    finally:
        logging.disable(logging.NOTSET)


def _redriven(template: Path, folder: Path, count: int, rate: float | None) -> float:
    async def main(app: App) -> float:
        _consuming(app)
        (registration,) = app.registrations
        subscription = registration.subscription
        async with app.connected() as brokers:
            began = time.perf_counter()
            done = await redrive(brokers.of(subscription.topic), subscription, lambda _: True, rate=rate, limit=count)
            seconds = time.perf_counter() - began
        if done.sent != count:
            raise RuntimeError(f"{done.sent} of {count} redriven: {done.cause}")
        return count / seconds

    with copied(template, folder) as file:
        return asyncio.run(main(application(file)))
