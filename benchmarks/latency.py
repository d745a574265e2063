"""From `publish` to the handler's start, at 1,000 messages a second, durably, on the embedded broker.

The publisher keeps to its schedule whatever becomes of the messages (it waits for none of them); what it is late, it
makes up for. Each message carries when its publish was called, on CLOCK_MONOTONIC, which is one for all processes.

- same process: publisher and handler on one event loop.
- other process: the publisher is a process of its own on the same file.
- hand-written: one process; a thread commits what has gathered with a flush, then hands it to the loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

from benchmarks.embedded import application, hand_made, place, remove
from benchmarks.harness import Row, Run, alone
from benchmarks.payload import ORDERS, Order, adapter, order
from benchmarks.processes import Child, ask, children
from waybill import App

__all__ = ["Arrivals", "measure", "paced", "percentiles"]

RATE = 1_000
SECONDS = 10.0
WARM = 0.05
"""The share of messages at the beginning that is left out: both sides are starting then."""


def measure(run: Run) -> list[Row]:
    """Milliseconds: median, 99th percentile and the longest."""
    count = int(RATE * SECONDS * (0.3 if run.scale < 1 else 1))
    hand = percentiles(asyncio.run(_hand_written(place(run.folder), count // 2)))
    same = percentiles(asyncio.run(_ours(place(run.folder), count)))
    other = percentiles(_other_process(place(run.folder), count))
    limits = {"p50": (None, None), "p99": (10.0, 50.0), "max": (None, None)}
    rows: list[Row] = []
    for name, (for_same, for_other) in limits.items():
        rows += [
            alone(
                f"latency {name}, same process, vs hand-written",
                "ms",
                same[name],
                baseline=hand[name],
                at_most=for_same,
            ),
            alone(f"latency {name}, other process", "ms", other[name], at_most=for_other),
        ]
    return rows


def percentiles(seconds: list[float]) -> dict[str, float]:
    """The median, the 99th percentile and the longest, in milliseconds."""
    counted = seconds[int(len(seconds) * WARM) :]
    hundredths = quantiles(counted, n=100)
    return {"p50": hundredths[49] * 1e3, "p99": hundredths[98] * 1e3, "max": max(counted) * 1e3}


async def paced(count: int, publish: Callable[[Order], None], rate: float = RATE) -> None:
    """Call `publish` that often a second with orders that say when."""
    began = time.monotonic()
    for number in range(count):
        wait = began + number / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        elif number % 16 == 0:
            await asyncio.sleep(0)
        publish(replace(order(number), amount=time.monotonic()))


class Arrivals:
    """When messages arrived, and when all have."""

    def __init__(self, count: int) -> None:
        self.seconds: list[float] = []
        self._count = count
        self.complete = asyncio.Event()

    async def handle(self, order: Order) -> None:
        self.seconds.append(time.monotonic() - order.amount)
        if len(self.seconds) == self._count:
            self.complete.set()


async def _publish_paced(app: App, count: int) -> None:
    async with asyncio.TaskGroup() as publishing:

        def publish(value: Order) -> None:
            publishing.create_task(app.publish(ORDERS, value))

        await paced(count, publish)


async def _ours(folder: Path, count: int) -> list[float]:
    with remove(folder):
        app = application(folder / "bus.db")
        arrivals = Arrivals(count)
        app.consume(ORDERS, concurrency=64)(arrivals.handle)
        async with app.running():
            await _publish_paced(app, count)
            await asyncio.wait_for(arrivals.complete.wait(), 30)
    return arrivals.seconds


# --------------------------------------------------------------------------- two processes


def _other_process(folder: Path, count: int) -> list[float]:
    with remove(folder), children([["benchmarks.latency", str(folder / "bus.db"), str(count)]]) as (publisher,):
        return asyncio.run(_consume(folder / "bus.db", count, publisher))


async def _consume(file: Path, count: int, publisher: Child) -> list[float]:
    app = application(file)
    arrivals = Arrivals(count)
    app.consume(ORDERS, concurrency=64)(arrivals.handle)
    async with app.running():
        await asyncio.to_thread(ask, [publisher])
        await asyncio.wait_for(arrivals.complete.wait(), 30)
    return arrivals.seconds


async def _publisher(file: Path, count: int) -> None:
    app = application(file)
    print("ready", flush=True)
    sys.stdin.readline()
    async with app.running(consume=False):
        await _publish_paced(app, count)
    print("done", flush=True)


# --------------------------------------------------------------------------- hand-written


async def _hand_written(folder: Path, count: int) -> list[float]:
    with remove(folder):
        connection = await asyncio.to_thread(_open, folder / "hand.db")
        arrivals = Arrivals(count)
        waiting: list[bytes] = []
        more = asyncio.Event()

        async def store() -> None:
            while True:
                await more.wait()
                more.clear()
                batch = waiting.copy()
                waiting.clear()
                await asyncio.to_thread(_commit, connection, batch)
                for data in batch:
                    await arrivals.handle(adapter.validate_json(data))

        def publish(value: Order) -> None:
            waiting.append(adapter.dump_json(value))
            more.set()

        storing = asyncio.create_task(store())
        try:
            await paced(count, publish)
            await asyncio.wait_for(arrivals.complete.wait(), 30)
        finally:
            storing.cancel()
            with suppress(asyncio.CancelledError):
                await storing
            connection.close()
    return arrivals.seconds


def _open(file: Path) -> sqlite3.Connection:
    return hand_made(file, synchronous="FULL")


def _commit(connection: sqlite3.Connection, batch: list[bytes]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO messages (body) VALUES (?)", [(data,) for data in batch])
    connection.execute("COMMIT")


if __name__ == "__main__":
    asyncio.run(_publisher(Path(sys.argv[1]), int(sys.argv[2])))
