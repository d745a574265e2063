"""Publishing to SQS, confirmed, with 100 callers at once, each waiting for its own message; 256-byte bodies.

- ours: `app.publish`, and all that its envelope says.
- batches by hand: `send_message_batch` of ten, ten calls at once.
- one by one: `send_message` for each, a hundred at once.
- Repid and Kombu: see `benchmarks.sqs_peers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.harness import Meter, Row, Run, against, alone, interleave
from benchmarks.payload import body, order
from benchmarks.sqs import TOGETHER, application, by_hand, entries, ours, queue
from benchmarks.sqs_peers import kombu_publish, repid_publish

__all__ = ["measure"]

MESSAGES = 6_400
CALLERS = 100
FEWER = 8
"""The share of them, where each is a call by itself."""
ABOVE = 15.0
"""Microseconds that ours may cost more than batches by hand."""

Contender = Callable[[int, Meter], Awaitable[None]]


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    count = run.messages(MESSAGES)
    found = interleave(
        {
            "ours": lambda: _timed(_ours, count),
            "by hand": lambda: _timed(_by_hand, count),
            "one by one": lambda: _timed(_one_by_one, count // FEWER),
            "Repid": lambda: _timed(repid_publish, count // FEWER),
            "Kombu": lambda: _timed(kombu_publish, count // FEWER),
        },
        run.rounds,
    )
    unit, mine = "us CPU/message", found["ours"]
    apart = sorted(a - b for a, b in zip(mine, found["by hand"], strict=True))
    return [
        against("SQS publish vs send_message_batch by hand", unit, mine, found["by hand"]),
        alone("SQS publish, more than batches by hand", unit, apart[len(apart) // 2], at_most=ABOVE),
        against("SQS publish vs send_message for each", unit, mine, found["one by one"]),
        *(against(f"SQS publish vs {peer}", unit, mine, found[peer]) for peer in ("Repid", "Kombu")),
    ]


def _timed(contender: Contender, count: int) -> float:
    meter = Meter()

    async def main() -> None:
        await contender(count, meter)

    asyncio.run(main())
    return meter.per_message(count)


async def _ours(count: int, meter: Meter) -> None:
    topic = ours()
    app = application(topic)

    async def caller(first: int) -> None:
        for number in range(first, count, CALLERS):
            await app.publish(topic, order(number))

    async with app.running(consume=False):
        await app.publish(topic, order(0))
        with meter:
            await asyncio.gather(*(caller(first) for first in range(CALLERS)))


async def _by_hand(count: int, meter: Meter) -> None:
    numbers = iter(range(count))

    async def caller() -> None:
        while batch := entries(numbers):
            answer = await client.send_message_batch(QueueUrl=url, Entries=batch)
            if answer.get("Failed"):
                raise RuntimeError(str(answer["Failed"]))

    async with by_hand() as client:
        url = await queue(client)
        with meter:
            await asyncio.gather(*(caller() for _ in range(CALLERS // TOGETHER)))


async def _one_by_one(count: int, meter: Meter) -> None:
    async def caller(first: int) -> None:
        for number in range(first, count, CALLERS):
            await client.send_message(QueueUrl=url, MessageBody=body(number).decode())

    async with by_hand() as client:
        url = await queue(client)
        with meter:
            await asyncio.gather(*(caller(first) for first in range(CALLERS)))
