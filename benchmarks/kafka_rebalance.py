"""A group of three on Kafka under load: the third joins in the middle of it and leaves again, 12 partitions.

How long a message waits at most, from `publish` to its handler: while who has what is decided anew, those that come wait.
And how often one is handled twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from benchmarks.harness import Row, Run, alone
from benchmarks.kafka import application, ours
from benchmarks.latency import RATE, paced
from benchmarks.payload import Order
from waybill import App, Topic

__all__ = ["measure"]

PARTITIONS = 12
SECONDS = 9.0
ROUNDS = 3
WINDOW = 256
PATIENCE = 30.0
RESUMES = 5.0
"""Seconds that a message may wait."""


def measure(run: Run) -> list[Row]:
    """Seconds, and messages."""
    found = [asyncio.run(_round()) for _ in range(ROUNDS if run.scale == 1 else 1)]
    longest, twice = max(wait for wait, _ in found), max(number for _, number in found)
    name = f"Kafka rebalance of 3 members at {RATE}/s"
    return [
        alone(f"{name}: longest wait", "s", longest, at_most=RESUMES),
        alone(f"{name}: handled twice", "messages", twice, at_most=WINDOW),
    ]


class Handled:
    """How often each message was, and the longest that one of them waited."""

    def __init__(self, count: int) -> None:
        self.times: Counter[str] = Counter()
        self.longest = 0.0
        self.complete = asyncio.Event()
        self._count = count

    async def handle(self, order: Order) -> None:
        self.times[order.order_id] += 1
        self.longest = max(self.longest, time.monotonic() - order.amount)
        if len(self.times) == self._count:
            self.complete.set()


async def _round() -> tuple[float, float]:
    count = int(RATE * SECONDS)
    topic, handled = ours(PARTITIONS), Handled(count)
    first, second, third = (_member(topic, handled) for _ in range(3))
    async with first.running(), second.running(), asyncio.TaskGroup() as under_way:

        def publish(order: Order) -> None:
            under_way.create_task(_publish(first, topic, order))

        under_way.create_task(_visit(third))
        await paced(count, publish)
        await asyncio.wait_for(handled.complete.wait(), PATIENCE)
    return handled.longest, sum(handled.times.values()) - count


def _member(topic: Topic[Order], handled: Handled) -> App:
    app = application(topic)
    app.consume(topic, ordered=True, concurrency=64, window=WINDOW)(handled.handle)
    return app


async def _publish(app: App, topic: Topic[Order], order: Order) -> None:
    await app.publish(topic, order)


async def _visit(member: App) -> None:
    """Join when the others have been at work for a third of the time, and leave after another."""
    await asyncio.sleep(SECONDS / 3)
    async with member.running():
        await asyncio.sleep(SECONDS / 3)
