"""What a worker holds while 200,000 messages wait on RabbitMQ and its handler is slow: `waybill run`, a real process."""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness import Row, Run, alone
from benchmarks.payload import ORDERS, order
from benchmarks.rabbit import application, vhost
from benchmarks.workers import resident, ticks, worker
from waybill import Confirmed
from waybill.topology import Subscription

__all__ = ["measure"]

WAITING = 200_000
CHUNK = 10_000
SECONDS = 20.0
PATIENCE = 30.0
"""Seconds after which the broker has counted what it has."""


def measure(run: Run) -> list[Row]:
    """MiB."""
    count, seconds = run.messages(WAITING), SECONDS if run.scale == 1 else SECONDS / 4
    with vhost() as url:
        with worker("slow", url) as (_, alone_there):
            empty = resident(alone_there)
        asyncio.run(_fill(url, count))
        with worker("slow", url) as (_, pid):
            sizes = [resident(pid) for _ in ticks(seconds)]
        left = asyncio.run(_waiting(url))
    if not count / 2 < left < count:
        raise RuntimeError(f"{left:,.0f} of {count:,} are left: the slow worker handled nothing, or all")
    what = f"RabbitMQ worker, {count:,} waiting, slow handler"
    return [
        alone(what, "MiB resident", max(sizes), baseline=empty),
        alone(f"{what}: highest less lowest", "MiB", max(sizes) - min(sizes), at_most=20),
    ]


async def _fill(url: str, count: int) -> None:
    app = application(url)
    async with app.running(consume=False):
        for start in range(0, count, CHUNK):
            orders = [order(number) for number in range(start, min(start + CHUNK, count))]
            if not all(isinstance(result, Confirmed) for result in await app.publish_many(ORDERS, orders, deadline=60)):
                raise RuntimeError("what was to wait could not be published")


async def _waiting(url: str) -> float:
    """What lies ready, when nobody holds anything any more."""
    end = time.monotonic() + PATIENCE
    async with application(url).admin() as admin:
        while True:
            backlog = await admin.backlog(Subscription(topic=ORDERS.spec, group="bench"))
            if backlog.ready.value or time.monotonic() > end:
                return backlog.ready.value or 0.0
            await asyncio.sleep(0.2)
