"""What a long queue costs: publishing to and consuming from a file where a million messages wait, and few.

Each round publishes so many messages to the file and consumes as many of what waits, oldest first, beginning with a fresh
application. The long files stay as long as they were; the short ones are copied anew for each round. Once more for an
ordered group, with a message for each of 100,000 keys and with as many messages of few keys.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.consume import CONCURRENCY, PATIENCE, preload
from benchmarks.embedded import application, copied, remove
from benchmarks.harness import Cost, Meter, Row, Run, against, interleave
from benchmarks.payload import ORDERS, Order, handle, order
from benchmarks.publish import publish

__all__ = ["measure", "million"]

MILLION = 1_000_000
FEW = 20_480
MESSAGES = 19_200
MANY_KEYS = 100_000
FEW_KEYS = 100
LIMIT = 1.25


@dataclass(frozen=True, slots=True)
class Queue:
    """A file with messages that wait. `whole`: whether each round has a copy of it."""

    file: Path
    folder: Path
    ordered: bool = False
    keys: int = 1_000
    whole: bool = False

    def make(self, number: int) -> Order:
        return replace(order(number), customer_id=f"customer-{number % self.keys:06d}")

    def preload(self, count: int) -> None:
        preload(self.file, count, self.make)


def million(run: Run) -> Path:
    """The file in which a million messages wait; made at the first call, in some ten seconds."""
    file = run.folder / "million.db"
    if not file.exists():
        preload(file, run.messages(MILLION))
    return file


def measure(run: Run) -> list[Row]:
    """Microseconds a message, of processor time and by the wall clock."""
    count, long, many = run.messages(MESSAGES), run.messages(MILLION), run.messages(MANY_KEYS)
    with remove(run.folder / "preloaded") as folder:
        queues = {
            "long": Queue(million(run), run.folder),
            "short": Queue(folder / "short.db", run.folder, whole=True),
            "many keys": Queue(folder / "many.db", run.folder, ordered=True, keys=many),
            "few keys": Queue(folder / "few.db", run.folder, ordered=True, keys=FEW_KEYS),
        }
        queues["short"].preload(run.messages(FEW))
        queues["many keys"].preload(many)
        queues["few keys"].preload(many)
        contenders: dict[str, Callable[[], Cost]] = {}
        for name, queue in queues.items():
            contenders[f"publish, {name}"] = lambda queue=queue: _measured(queue, _publish, count)
            contenders[f"consume, {name}"] = lambda queue=queue: _measured(queue, _consume, count)
        found = interleave(contenders, run.rounds)
    rows: list[Row] = []
    for what in ("publish", "consume"):
        rows += _rows(f"{what}, {long:,} waiting vs {run.messages(FEW):,}", found, f"{what}, long", f"{what}, short")
        rows += _rows(f"{what} ordered, {many:,} keys vs {FEW_KEYS}", found, f"{what}, many keys", f"{what}, few keys")
    return rows


def _rows(name: str, found: dict[str, list[Cost]], ours: str, theirs: str) -> Sequence[Row]:
    return [
        against(
            name,
            unit,
            [getattr(cost, clock) for cost in found[ours]],
            [getattr(cost, clock) for cost in found[theirs]],
            at_most=LIMIT,
        )
        for unit, clock in (("us CPU/message", "cpu"), ("us wall/message", "wall"))
    ]


def _measured(queue: Queue, work: Callable[[Queue, Path, int, Meter], object], count: int) -> Cost:
    meter = Meter()
    os.sync()  # what the round before wrote is not this one's to wait for
    with copied(queue.file, queue.folder) if queue.whole else nullcontext(queue.file) as file:
        work(queue, file, count, meter)
    return meter.cost(count)


def _publish(queue: Queue, file: Path, count: int, meter: Meter) -> None:
    asyncio.run(publish(application(file), count, meter, queue.make))


def _consume(queue: Queue, file: Path, count: int, meter: Meter) -> None:
    async def main() -> None:
        app = application(file)
        done = asyncio.Event()
        handled = 0

        @app.consume(ORDERS, concurrency=CONCURRENCY, ordered=queue.ordered)
        async def consume(order: Order) -> None:
            nonlocal handled
            await handle(order)
            handled += 1
            if handled == count:
                done.set()

        async with app.running():
            with meter:
                await asyncio.wait_for(done.wait(), PATIENCE)

    asyncio.run(main())
