"""Publishing to the embedded broker, durably: each message is flushed to the disk before its publisher goes on.

- ours: 64 publishers, each awaiting `app.publish` in a loop; 256-byte bodies, a key.
- hand-written: the same values, the same encoder, `INSERT`s in transactions of 10, WAL, synchronous=FULL.
- persist-queue: `SQLiteAckQueue.put`, a commit, and with it a flush, each; from 64 threads, since an application with 64
  publishers cannot let each flush stop its event loop; and once from one thread without any concurrency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.embedded import application, counted_commits, flush, hand_made, peer, place, remove
from benchmarks.harness import Meter, Row, Run, against, alone, interleave
from benchmarks.payload import ORDERS, Order, adapter, order
from waybill import App

__all__ = ["measure", "publish"]

MESSAGES = 6_400
PUBLISHERS = 64
TRANSACTION = 10


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message, and how many flushes a second that is."""
    count = run.messages(MESSAGES)
    ours, theirs = Meter(), Meter()
    found = interleave(
        {
            "ours": lambda: _ours(place(run.folder), count, ours),
            "hand-written": lambda: _hand_written(place(run.folder), count // 2, theirs),
            "persist-queue": lambda: _persist_queue(place(run.folder), count // 4, PUBLISHERS),
            "one thread": lambda: _persist_queue(place(run.folder), count // 4, 1),
        },
        run.rounds,
    )
    with counted_commits() as commits:
        _ours(place(run.folder), count, Meter())
    wall, cpu = flush(run.folder)
    unit = "us CPU/message"
    rows = [
        against("publish vs hand-written (10 a commit)", unit, found["ours"], found["hand-written"], at_most=2.5),
        against("publish vs persist-queue", unit, found["ours"], found["persist-queue"], at_most=0.35),
        against("publish vs persist-queue, one thread", unit, found["ours"], found["one thread"]),
        alone("one flush of 4 KiB here", "us wall", wall),
        alone("one flush of 4 KiB here", "us CPU", cpu),
        alone(
            "publish, wall clock, vs hand-written",
            "messages/s",
            count * run.rounds / ours.wall,
            baseline=count // 2 * run.rounds / theirs.wall,
        ),
    ]
    if commits[0]:
        a_commit = count / commits[0]
        rows += [
            alone("publish: a commit carries", "messages", a_commit, baseline=TRANSACTION),
            alone("publish: flushes", "1/s", count * run.rounds / ours.wall / a_commit),
        ]
    return rows


async def publish(app: App, count: int, meter: Meter, make: Callable[[int], Order] = order) -> None:
    """So many orders from `PUBLISHERS` publishers, each of them waiting for its own."""

    async def publisher(first: int) -> None:
        for number in range(first, count, PUBLISHERS):
            await app.publish(ORDERS, make(number))

    async with app.running(consume=False):
        await app.publish(ORDERS, make(0))  # opens the topic
        with meter:
            await asyncio.gather(*(publisher(first) for first in range(PUBLISHERS)))


def _ours(folder: Path, count: int, total: Meter) -> float:
    meter = Meter()
    with remove(folder):
        asyncio.run(publish(application(folder / "bus.db"), count, meter))
    total.wall += meter.wall
    return meter.per_message(count)


def _hand_written(folder: Path, count: int, total: Meter) -> float:
    meter = Meter()
    encode = adapter.dump_json
    with remove(folder):
        connection = hand_made(folder / "hand.db", synchronous="FULL")
        with meter:
            for first in range(0, count, TRANSACTION):
                connection.execute("BEGIN IMMEDIATE")
                for number in range(first, min(first + TRANSACTION, count)):
                    connection.execute("INSERT INTO messages (body) VALUES (?)", (encode(order(number)),))
                connection.execute("COMMIT")
        connection.close()
    total.wall += meter.wall
    return meter.per_message(count)


def _persist_queue(folder: Path, count: int, publishers: int) -> float:
    meter = Meter()
    with remove(folder):
        queue = peer(folder)

        def publisher(first: int) -> None:
            for number in range(first, count, publishers):
                queue.put(order(number))

        with ThreadPoolExecutor(publishers) as pool, meter:
            list(pool.map(publisher, range(publishers)))
        queue.close()
    return meter.per_message(count)
