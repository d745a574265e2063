"""Batches of 100 against one message a handling: what is saved by handling, and settling, many at once.

Both consume the same preloaded file; both hold about as many messages at once. What is left of a batch's cost is mostly
what no batch saves: reading the message, decoding its body, deleting it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from benchmarks.consume import PATIENCE, preload
from benchmarks.embedded import application, copied, remove
from benchmarks.harness import Meter, Row, Run, against, interleave
from benchmarks.payload import ORDERS, Order
from waybill import App, Batch

__all__ = ["measure"]

MESSAGES = 19_200
SIZE = 100


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time a message."""
    count = run.messages(MESSAGES)
    with remove(run.folder / "preloaded") as folder:
        bus = folder / "bus.db"
        preload(bus, count)
        found = interleave(
            {
                "single": lambda: _consumed(bus, run.folder, count, batched=False),
                "batches": lambda: _consumed(bus, run.folder, count, batched=True),
            },
            run.rounds,
        )
    unit = "us CPU/message"
    return [against(f"batches of {SIZE} vs single", unit, found["batches"], found["single"], at_most=0.5)]


def _consumed(template: Path, folder: Path, count: int, *, batched: bool) -> float:
    async def main(file: Path) -> None:
        app = application(file)
        done = asyncio.Event()
        handled = 0

        def note(number: int) -> None:
            nonlocal handled
            handled += number
            if handled == count:
                done.set()

        (_in_batches if batched else _singly)(app, note)
        async with app.running():
            with meter:
                await asyncio.wait_for(done.wait(), PATIENCE)

    meter = Meter()
    with copied(template, folder) as file:
        asyncio.run(main(file))
    return meter.per_message(count)


def _singly(app: App, note: Callable[[int], None]) -> None:
    @app.consume(ORDERS, concurrency=SIZE)
    async def consume(order: Order) -> None:
        note(1)


def _in_batches(app: App, note: Callable[[int], None]) -> None:
    @app.consume(ORDERS, batch=Batch(SIZE, wait=0.5), concurrency=4)
    async def consume(orders: list[Order]) -> None:
        note(len(orders))
