"""Consuming a preloaded embedded file: take, decode, handle, settle.

- ours: the application itself, concurrency 64, from the moment it runs to the end of its orderly shutdown.
- hand-written: 10 a transaction: lease, commit, decode and handle with a task a message, delete, commit; WAL,
  synchronous=NORMAL, which is how ours settles (a lost acknowledgement is a second delivery, not a lost message).
- without a lease: select, decode, await the handlers one by one, delete, all in one transaction. The least that can be
  written; nobody else can write meanwhile, and a second process would handle the same messages.
- persist-queue: `get` and `ack` as it ships, two commits a message, each flushed; and once more with
  synchronous=NORMAL, which it has no option for, to tell the flushes from the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.embedded import application, copied, hand_made, peer, remove
from benchmarks.harness import Meter, Row, Run, against, interleave
from benchmarks.payload import KEYS, ORDERS, Order, adapter, body, handle, order
from waybill import Confirmed

__all__ = ["measure", "preload"]

MESSAGES = 6_400
CONCURRENCY = 64
TRANSACTION = 10
CHUNK = 10_000
"""Messages preloaded at once."""
PATIENCE = 60.0
"""Seconds after which a round has failed."""


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    count = run.messages(MESSAGES)
    few = count // 8
    with remove(run.folder / "preloaded") as folder:
        bus, hand, queue = folder / "bus.db", folder / "hand.db", folder / "queue"
        preload(bus, count)
        _preload_hand(hand, count)
        _preload_queue(queue, few)
        found = interleave(
            {
                "ours": lambda: _ours(bus, run.folder, count, ordered=False),
                "ordered": lambda: _ours(bus, run.folder, count, ordered=True),
                "hand-written": lambda: _hand_written(hand, run.folder, count),
                "without a lease": lambda: _without_lease(hand, run.folder, count),
                "persist-queue": lambda: _persist_queue(queue, run.folder, few, flushed=True),
                "unflushed": lambda: _persist_queue(queue, run.folder, few, flushed=False),
            },
            run.rounds,
        )
    unit = "us CPU/message"
    ours = found["ours"]
    return [
        against("consume vs hand-written (10 a commit)", unit, ours, found["hand-written"], at_most=1.8),
        against("consume vs hand-written without a lease", unit, ours, found["without a lease"]),
        against("consume vs persist-queue get+ack", unit, ours, found["persist-queue"], at_most=0.25),
        against("consume vs persist-queue without flushes", unit, ours, found["unflushed"]),
        against(f"consume ordered ({KEYS} keys) vs unordered", unit, found["ordered"], ours, at_most=1.3),
    ]


def preload(file: Path, count: int, make: Callable[[int], Order] = order) -> None:
    """Publish that many messages to a new file."""

    async def main() -> None:
        app = application(file, sync="normal")
        async with app.running(consume=False):
            for first in range(0, count, CHUNK):
                values = [make(number) for number in range(first, min(first + CHUNK, count))]
                if not all(isinstance(result, Confirmed) for result in await app.publish_many(ORDERS, values)):
                    raise RuntimeError("what was to be consumed could not be published")

    asyncio.run(main())


def _preload_hand(file: Path, count: int) -> None:
    connection = hand_made(file, synchronous="OFF")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO messages (body) VALUES (?)", ((body(number),) for number in range(count)))
    connection.execute("COMMIT")
    connection.close()


def _preload_queue(folder: Path, count: int) -> None:
    queue = peer(folder)
    queue._putter.execute("PRAGMA synchronous = OFF")
    for number in range(count):
        queue.put(order(number))
    queue.close()


def _ours(template: Path, folder: Path, count: int, *, ordered: bool) -> float:
    async def main(file: Path) -> None:
        app = application(file)
        handled = 0
        done = asyncio.Event()

        @app.consume(ORDERS, concurrency=CONCURRENCY, ordered=ordered)
        async def consume(order: Order) -> None:
            nonlocal handled
            await handle(order)
            handled += 1
            if handled == count:
                done.set()

        with ExitStack() as measured:
            async with app.running():
                measured.enter_context(meter)
                await asyncio.wait_for(done.wait(), PATIENCE)
        if handled != count:
            raise RuntimeError(f"{handled} of {count} handled")

    meter = Meter()
    with copied(template, folder) as file:
        asyncio.run(main(file))
    return meter.per_message(count)


def _hand_written(template: Path, folder: Path, count: int) -> float:
    async def main(file: Path) -> None:
        decode = adapter.validate_json
        handled = 0
        connection = hand_made(file, synchronous="NORMAL")

        async def one(data: bytes) -> None:
            nonlocal handled
            await handle(decode(data))
            handled += 1

        with meter:
            while True:
                connection.execute("BEGIN IMMEDIATE")
                rows = connection.execute(
                    "UPDATE messages SET owner = 1 WHERE seq IN (SELECT seq FROM messages WHERE owner IS NULL ORDER BY seq "
                    f"LIMIT {TRANSACTION}) RETURNING seq, body"
                ).fetchall()
                connection.execute("COMMIT")
                if not rows:
                    break
                await asyncio.gather(*(asyncio.create_task(one(data)) for _, data in rows))
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("DELETE FROM messages WHERE seq = ?", [(seq,) for seq, _ in rows])
                connection.execute("COMMIT")
            connection.close()
        if handled != count:
            raise RuntimeError(f"{handled} of {count} handled")

    meter = Meter()
    with copied(template, folder) as file:
        asyncio.run(main(file))
    return meter.per_message(count)


def _without_lease(template: Path, folder: Path, count: int) -> float:
    async def main(file: Path) -> None:
        decode = adapter.validate_json
        handled = 0
        connection = hand_made(file, synchronous="NORMAL")
        with meter:
            while True:
                connection.execute("BEGIN IMMEDIATE")
                rows = connection.execute(f"SELECT seq, body FROM messages ORDER BY seq LIMIT {TRANSACTION}").fetchall()
                for _, data in rows:
                    await handle(decode(data))
                    handled += 1
                connection.executemany("DELETE FROM messages WHERE seq = ?", [(seq,) for seq, _ in rows])
                connection.execute("COMMIT")
                if not rows:
                    break
            connection.close()
        if handled != count:
            raise RuntimeError(f"{handled} of {count} handled")

    meter = Meter()
    with copied(template, folder) as file:
        asyncio.run(main(file))
    return meter.per_message(count)


def _persist_queue(template: Path, folder: Path, count: int, *, flushed: bool) -> float:
    async def main(home: Path) -> None:
        queue = peer(home)
        if not flushed:
            queue._putter.execute("PRAGMA synchronous = NORMAL")
        with meter:
            for _ in range(count):
                item = queue.get(block=False, raw=True)
                await handle(item["data"])
                queue.ack(id=item["pqid"])
            queue.close()

    meter = Meter()
    with copied(template, folder) as home:
        asyncio.run(main(home))
    return meter.per_message(count)
