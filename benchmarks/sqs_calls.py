"""How many calls of AWS a message takes, where 500 a second are published and consumed by one process; and none, for two minutes.

All calls count, also those that look whether somebody is there and how many wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from benchmarks.harness import Row, Run, alone
from benchmarks.payload import Order, handle, order
from benchmarks.rabbit_consume import Arrivals
from benchmarks.sqs import application, counted, ours

__all__ = ["measure"]

RATE = 500
MESSAGES = 10_000
IDLE = 120.0
QUEUES = 2
"""Of a group: its own, and that of its dead letters."""
TICK = 0.02
"""Seconds; so many as are due then are published, each by a task of its own."""


def measure(run: Run) -> list[Row]:
    """Calls a message, and calls in 20 s."""
    count = run.messages(MESSAGES)
    busy, idle = asyncio.run(_busy(count)), asyncio.run(_idle())
    publishing = sum(number for call, number in busy.items() if call.startswith("send_message"))
    unit = "calls/message"
    return [
        alone("SQS publish, 500 a second", unit, publishing / count, at_most=0.11),
        alone("SQS consume and all else, 500 a second", unit, (sum(busy.values()) - publishing) / count, at_most=0.25),
        alone("SQS, an idle group", "calls/20 s a queue", idle / QUEUES, at_most=1.0),
    ]


async def _busy(count: int) -> Counter[str]:
    topic, arrivals = ours(), Arrivals(count)
    app = application()

    @app.consume(topic, concurrency=100)
    async def consume(order: Order) -> None:
        await handle(order)
        arrivals.one()

    with counted() as calls:
        async with app.running(), asyncio.TaskGroup() as publishing:
            began, published = asyncio.get_running_loop().time(), 0
            while published < count:
                due = min(count, int((asyncio.get_running_loop().time() - began) * RATE))
                for number in range(published, due):
                    publishing.create_task(app.publish(topic, order(number)))
                published = due
                await asyncio.sleep(TICK)
            await arrivals.wait()
    return calls


async def _idle() -> float:
    """In 20 s; without what it takes to start and to end."""
    topic = ours()
    app = application()

    @app.consume(topic)
    async def consume(order: Order) -> None:
        await handle(order)

    async with app.running():
        pass  # makes what there is to make
    with counted() as brief:
        async with app.running():
            await asyncio.sleep(1)
    with counted() as long:
        async with app.running():
            await asyncio.sleep(1 + IDLE)
    return (sum(long.values()) - sum(brief.values())) / IDLE * 20
