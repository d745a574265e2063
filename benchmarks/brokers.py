"""The brokers that cases run on, those of the tests, and what their latency is beside a client by hand.

A broker is the one that its variable names, else a container, else a process of this machine (tests/brokers).
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import sys
from collections.abc import Awaitable, Callable
from statistics import median

from benchmarks.harness import Row, Run, alone, interleave
from benchmarks.latency import Arrivals, paced, percentiles
from benchmarks.payload import Order
from tests.brokers.running import Running
from tests.brokers.session import Session

__all__ = ["arriving", "broker", "in_pairs"]

SECONDS = 4.0
PAIRS = 10
PATIENCE = 30.0
LIMITS = {"p50": 1.0, "p99": 5.0, "max": None}
"""Milliseconds that ours may take longer."""


@functools.cache
def broker(name: str) -> Running:
    """Started once; it ends with this process."""
    session = Session(f"bench-{os.getpid()}-{name}", lambda text: print(text, file=sys.stderr))
    atexit.register(session.close)
    found = session.start([name])[name]
    if not isinstance(found, Running):
        sys.exit(f"there is no {name} to measure: {found}")
    return found


def in_pairs(
    run: Run,
    what: str,
    rate: int,
    ours: Callable[[int], Awaitable[list[float]]],
    theirs: Callable[[int], Awaitable[list[float]]],
    *,
    whose: str,
) -> list[Row]:
    """Milliseconds longer than theirs, beside what theirs takes; the median of what the rounds of a pair are apart.

    ours, theirs: take how many messages to publish, and return the seconds that each took.
    """
    count = int(rate * SECONDS)

    async def seconds(contender: Callable[[int], Awaitable[list[float]]]) -> list[float]:
        return await contender(count)

    contenders = {"ours": ours, "theirs": theirs}
    found = interleave(
        {name: lambda each=each: percentiles(asyncio.run(seconds(each))) for name, each in contenders.items()},  # type: ignore[misc]
        PAIRS if run.scale == 1 else 3,
    )
    rows: list[Row] = []
    for name, limit in LIMITS.items():
        mine, raw = ([figures[name] for figures in found[side]] for side in contenders)
        apart = median(a - b for a, b in zip(mine, raw, strict=True))
        rows += [
            alone(f"{what} latency {name} at {rate}/s", "ms", median(mine), baseline=median(raw)),
            alone(f"{what} latency {name}, more than {whose}", "ms", apart, at_most=limit),
        ]
    return rows


async def arriving(
    count: int, rate: int, publish: Callable[[Order], Awaitable[object]], arrivals: Arrivals
) -> list[float]:
    """Publish to a schedule, whatever becomes of the messages, until all have come. Returns the seconds that each took."""
    async with asyncio.TaskGroup() as under_way:

        async def one(order: Order) -> None:
            await publish(order)

        def start(order: Order) -> None:
            under_way.create_task(one(order))

        await paced(count, start, rate)
        await asyncio.wait_for(arrivals.complete.wait(), PATIENCE)
    return arrivals.seconds
