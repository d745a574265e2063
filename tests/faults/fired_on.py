"""The service the fault tests kill, stop and restart: handlers journal with fsync, so that what they did outlives them.

    python fired_on.py consume|publish BUS JOURNALS

A line of a journal: what, message number, key, attempt, process, time (CLOCK_MONOTONIC, one clock for all processes).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from waybill import App, Delivery, PublishRefused, PublishUnknown, Retry, Settings, Topic

KEYS = 20


@dataclass
class Step:
    number: int
    key: str


steps = Topic("steps", Step, key=lambda step: step.key, groups=["walker"])


class Journal:
    def __init__(self, folder: Path, name: str) -> None:
        self._fd = os.open(folder / f"{name}-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, step: Step, attempt: int = 0) -> None:
        line = f"{what} {step.number} {step.key} {attempt} {os.getpid()} {time.monotonic_ns()}\n"
        os.write(self._fd, line.encode())
        os.fdatasync(self._fd)


def make(bus: str, lease: float) -> App:
    return App("walker", settings=Settings(url=bus, lease=lease, shutdown_grace=10))


async def consume(bus: str, folder: Path, lease: float, pause: float) -> None:
    app = make(bus, lease)
    journal = Journal(folder, "handled")

    @app.consume(steps, ordered=True, concurrency=8, retry=Retry.fixed(50, delay=0.01))
    async def walk(step: Step, delivery: Delivery[Step]) -> None:
        journal.write("start", step, delivery.attempt)
        try:
            await asyncio.sleep(random.uniform(0, pause))
        except asyncio.CancelledError:
            journal.write("cancelled", step, delivery.attempt)
            raise
        if step.number % 20 == 0 and delivery.attempt == 1:
            journal.write("fail", step, delivery.attempt)
            raise ConnectionError("the other side is not there")
        journal.write("end", step, delivery.attempt)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with app.running():
        journal.write("ready", Step(-1, "-"))
        await stop.wait()


async def publish(bus: str, folder: Path, lease: float, pause: float) -> None:
    """Publish for ever, one task a key, so that a key's numbers rise; each number is journalled before and after."""
    app = make(bus, lease)
    journal = Journal(folder, "published")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def one_key(key: str) -> None:
        while not stop.is_set():
            step = Step(time.monotonic_ns(), key)
            journal.write("try", step)
            try:
                await app.publish(steps, step)
            except PublishRefused:
                journal.write("refused", step)
            except PublishUnknown:
                journal.write("unknown", step)
            else:
                journal.write("ok", step)
            await asyncio.sleep(random.uniform(0, 2 * pause))

    async with app.running(consume=False):
        journal.write("ready", Step(-1, "-"))
        await asyncio.gather(*(one_key(f"k{number}") for number in range(KEYS)))


if __name__ == "__main__":
    role, bus_url, journals = sys.argv[1:4]
    lease_seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 30.0
    pause_seconds = float(sys.argv[5]) if len(sys.argv) > 5 else 0.02
    asyncio.run((consume if role == "consume" else publish)(bus_url, Path(journals), lease_seconds, pause_seconds))
