"""What happens, step by step. The environment says by now where the orders travel, and as what."""

import asyncio
import logging
import sys
import time
from pathlib import Path

from examples.orders import banks
from examples.orders.contracts import OrderPlaced, orders
from examples.orders.service import app
from waybill import Handled
from waybill.outcomes import DeadLetter, Defer

PLACED = [
    OrderPlaced("o-1", "north", 1200),
    OrderPlaced("o-2", "south", 4550),
    OrderPlaced("o-3", "north", 0),
    OrderPlaced("o-4", "east", 899),
    OrderPlaced("o-5", "north", 2000),
    OrderPlaced("o-6", "north", 350),
]


async def demo() -> None:
    logging.getLogger("waybill").setLevel(logging.ERROR)  # it warns of each failure: `follow` tells of them here
    ended = asyncio.Queue[Handled]()
    app.observe(ended.put_nowait)
    await waybill("explain")
    async with app.running():
        print(f"\n{len(PLACED)} orders; bank south answers the third time only, bank east is closed")
        await app.publish_many(orders, PLACED)
        await follow(ended, len(PLACED))
        await waybill("dlq", "list")
        print("\nbank east is open again: what failed for it goes back, what was rejected stays")
        banks.closed.clear()
        await waybill("dlq", "redrive", "--reason", "retries_exhausted", "--yes")
        await follow(ended, 1)
    print(f"\n{len(banks.charged)} of {len(PLACED)} orders are charged, {sum(banks.charged.values()) / 100:.2f} in all")


async def follow(ended: asyncio.Queue[Handled], messages: int) -> None:
    """Tell how each handling ends, until so many messages are charged or dead."""
    start = time.monotonic()
    while messages:
        handled = await asyncio.wait_for(ended.get(), 30)
        messages -= not isinstance(handled.settlement, Defer)
        order: OrderPlaced = handled.delivery.value
        print(
            f"{time.monotonic() - start:6.2f} s  {order.order_id}  attempt {handled.delivery.attempt}: {fate(handled)}"
        )


def fate(handled: Handled) -> str:
    match handled.settlement:
        case Defer(after=after):
            return f"failed, again in {after:.2f} s"
        case DeadLetter(record=record):
            return f"dead letter, {record.reason}"
        case _:
            return "charged"


async def waybill(*arguments: str) -> None:
    """What an operator types."""
    print("\n$ waybill", *arguments, flush=True)
    program = Path(sys.executable).with_name("waybill")
    process = await asyncio.create_subprocess_exec(program, *arguments)
    if code := await process.wait():
        sys.exit(code)
