"""Ordered consuming on RabbitMQ, eight partitions, beside unordered, with two members in processes of their own.

Both have attached, and shared the partitions out, before anything is published. Measured is the throughput by the wall clock, from the first handling to the
last, and the share of the member that handled less. Run as a program, this module is one of the members: it says `ready`,
handles what comes, and when it is told that all is published and nothing came for a while, it answers with how many it
handled and when it began and ended.
"""

from __future__ import annotations

import asyncio
import sys
import time
from statistics import median

from benchmarks.harness import Row, Run, against, alone, interleave
from benchmarks.payload import ORDERS, Order, handle, order
from benchmarks.processes import ask, children
from benchmarks.rabbit import application, vhost
from waybill import App, Confirmed, Topic
from waybill_rabbitmq import RabbitMQ

__all__ = ["measure"]

MESSAGES = 25_600
MEMBERS = 2
SHARED_OUT = 4.0
"""Seconds after which members that have attached share the partitions: they look once a second."""
QUIET = 1.5
"""Seconds without a message after which a member knows that there are none left."""
PARTITIONED = Topic("bench.partitioned", Order, key=lambda order: order.customer_id, groups=["bench"]).on(
    RabbitMQ(partitions=8)
)
KINDS = {"ordered": PARTITIONED, "unordered": ORDERS}


def measure(run: Run) -> list[Row]:
    """Messages a second, and percent."""
    count = run.messages(MESSAGES)
    with vhost() as url:
        found = interleave(
            {kind: lambda kind=kind: _consumed(url, kind, count) for kind in KINDS},  # type: ignore[misc]
            run.rounds,
        )
    throughput = {kind: [rate for rate, _ in rounds] for kind, rounds in found.items()}
    least = median(share for _, share in found["ordered"])
    what = "RabbitMQ, two members: 8 ordered partitions"
    return [
        against(f"{what} vs unordered", "messages/s wall", *throughput.values(), at_least=0.7),
        alone(f"{what}, who handles less", "% of the messages", least * 100, at_least=30),
    ]


def _consumed(url: str, kind: str, count: int) -> tuple[float, float]:
    """Messages a second, and the smaller share."""
    with children([["benchmarks.rabbit_order", url, kind]] * MEMBERS) as members:
        answers = [line.split() for line in ask(members, lambda: asyncio.run(_publish(url, KINDS[kind], count)))]
    handled = [int(number) for number, _, _ in answers]
    if sum(handled) < count:
        raise RuntimeError(f"{sum(handled)} of {count} handled")
    busy = [(float(first), float(last)) for number, first, last in answers if int(number)]
    seconds = max(last for _, last in busy) - min(first for first, _ in busy)
    return count / seconds, min(handled) / sum(handled)


async def _publish(url: str, topic: Topic[Order], count: int) -> None:
    app = application(url)
    async with app.running(consume=False):
        await asyncio.sleep(SHARED_OUT)
        results = await app.publish_many(topic, [order(number) for number in range(count)])
    if not all(isinstance(result, Confirmed) for result in results):
        raise RuntimeError("what was to be consumed could not be published")


async def _member(url: str, kind: str) -> tuple[int, float, float]:
    app: App = application(url)
    handled, first, last = 0, 0.0, 0.0

    @app.consume(KINDS[kind], ordered=kind == "ordered", concurrency=50, window=200)
    async def consume(order: Order) -> None:
        nonlocal handled, first, last
        await handle(order)
        last = time.monotonic()
        first = first or last
        handled += 1

    async with app.running():
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        asked = time.monotonic()
        while time.monotonic() - max(last, asked) < QUIET:
            await asyncio.sleep(QUIET / 8)
    return handled, first, last


if __name__ == "__main__":
    print(*asyncio.run(_member(sys.argv[1], sys.argv[2])), flush=True)
