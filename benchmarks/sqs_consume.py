"""Consuming a filled queue of SQS: receive, decode to a typed object, handle, delete.

- ours: the application itself from the moment it runs to the end of its orderly shutdown.
- by hand: ten loops of `receive_message` for ten with the same decoder, and `delete_message_batch` after each.
- Repid and Kombu: see `benchmarks.sqs_peers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from benchmarks.harness import Meter, Row, Run, against, alone, interleave
from benchmarks.payload import Order, adapter, handle, order
from benchmarks.rabbit_consume import Arrivals
from benchmarks.sqs import TOGETHER, application, by_hand, entries, ours, queue
from benchmarks.sqs_peers import kombu_consume, repid_consume
from waybill import Confirmed

__all__ = ["measure"]

MESSAGES = 6_400
LOOPS = 10
WAIT = 1
"""Seconds that a receive waits, of both."""
FEWER = 8
"""The share of them that peers consume, call by call."""
ABOVE = 20.0
"""Microseconds that ours may cost more than loops by hand."""

Contender = Callable[[int, Meter], Awaitable[None]]


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    count = run.messages(MESSAGES)
    found = interleave(
        {
            "ours": lambda: _timed(_ours, count),
            "by hand": lambda: _timed(_by_hand, count),
            "Repid": lambda: _timed(repid_consume, count // FEWER),
            "Kombu": lambda: _timed(kombu_consume, count // FEWER),
        },
        run.rounds,
    )
    unit, mine = "us CPU/message", found["ours"]
    apart = sorted(a - b for a, b in zip(mine, found["by hand"], strict=True))
    return [
        against("SQS consume vs batches by hand", unit, mine, found["by hand"]),
        alone("SQS consume, more than batches by hand", unit, apart[len(apart) // 2], at_most=ABOVE),
        *(against(f"SQS consume vs {peer}", unit, mine, found[peer]) for peer in ("Repid", "Kombu")),
    ]


def _timed(contender: Contender, count: int) -> float:
    meter = Meter()

    async def main() -> None:
        await contender(count, meter)

    asyncio.run(main())
    return meter.per_message(count)


async def _ours(count: int, meter: Meter) -> None:
    topic, arrivals = ours(), Arrivals(count)
    filling = application(topic)
    async with filling.running(consume=False):
        results = await filling.publish_many(topic, [order(number) for number in range(count)])
    if not all(isinstance(result, Confirmed) for result in results):
        raise RuntimeError("what was to be consumed could not be published")
    app = application(wait=WAIT)

    @app.consume(topic, concurrency=LOOPS * TOGETHER)
    async def consume(order: Order) -> None:
        await handle(order)
        arrivals.one()

    with ExitStack() as measured:
        async with app.running():
            measured.enter_context(meter)
            await arrivals.wait()


async def _by_hand(count: int, meter: Meter) -> None:
    left = count

    async def loop() -> None:
        nonlocal left
        while left > 0:
            answer = await client.receive_message(QueueUrl=url, MaxNumberOfMessages=TOGETHER, WaitTimeSeconds=WAIT)
            messages = answer.get("Messages") or []
            for message in messages:
                await handle(adapter.validate_json(message["Body"]))
            left -= len(messages)
            done = [{"Id": str(place), "ReceiptHandle": each["ReceiptHandle"]} for place, each in enumerate(messages)]
            if done:
                await client.delete_message_batch(QueueUrl=url, Entries=done)

    async with by_hand() as client:
        url, numbers = await queue(client), iter(range(count))
        while batch := entries(numbers):
            await client.send_message_batch(QueueUrl=url, Entries=batch)
        with meter:
            await asyncio.gather(*(loop() for _ in range(LOOPS)))
