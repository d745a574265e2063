"""`waybill run` as a real process, looked at from outside: what it costs while nothing comes, and what it holds while a
million messages wait and its handlers are slow.

Processor time is of the supervisor and its worker together, from the kernel's account of them; resident memory is the
worker's, with what it shares with others (the interpreter's code, the map of the file's log).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.embedded import application
from benchmarks.harness import HOME, Row, Run, alone
from benchmarks.payload import ORDERS
from benchmarks.scale import million
from benchmarks.services import SUBSCRIPTIONS
from waybill.topology import Subscription

__all__ = ["measure", "resident", "ticks", "worker"]

SECONDS = 20.0
WARM = 4.0
"""Seconds after which a worker has imported, connected and filled its window."""
LOOK = 0.25
PROGRAM = "import sys; from waybill.cli import main; sys.exit(main())"
MIB = 1 << 20


def measure(run: Run) -> list[Row]:
    """Percent of a core, and MiB."""
    if not Path("/proc/self/stat").exists():
        print("workers: left out, since this system has no /proc", file=sys.stderr)
        return []
    seconds = SECONDS if run.scale == 1 else SECONDS / 4
    with worker("idle", f"sqlite:///{run.folder / 'idle.db'}") as processes:
        began, before = time.monotonic(), sum(map(_cpu, processes))
        time.sleep(seconds)
        busy = (sum(map(_cpu, processes)) - before) / (time.monotonic() - began)
        supervisor, single = map(resident, processes)
    file = million(run)
    long = _waiting(file)
    with worker("slow", f"sqlite:///{file}") as processes:
        sizes = [resident(processes[1]) for _ in ticks(seconds)]
    if _waiting(file) == long:
        raise RuntimeError("the slow worker handled nothing")
    waiting = f"{long:,} waiting, slow handler"
    return [
        alone(f"idle worker, {SUBSCRIPTIONS} subscriptions", "% of a core", busy * 100, at_most=1.0),
        alone(f"idle worker, {SUBSCRIPTIONS} subscriptions", "MiB resident", single, at_most=80),
        alone("its supervisor", "MiB resident", supervisor),
        alone(f"worker, {waiting}", "MiB resident", max(sizes), baseline=single),
        alone(f"worker, {waiting}: highest less lowest", "MiB", max(sizes) - min(sizes), at_most=20),
    ]


def ticks(seconds: float) -> Iterator[None]:
    """Four times a second, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(LOOK)


def _waiting(file: Path) -> float:
    """How many messages wait in the file."""

    async def main() -> float:
        async with application(file).admin() as admin:
            ready = (await admin.backlog(Subscription(topic=ORDERS.spec, group="bench"))).ready
        return ready.value or 0

    return asyncio.run(main())


@contextmanager
def worker(name: str, url: str) -> Iterator[tuple[int, int]]:
    """Run that service; yields the numbers of its supervisor and its worker when they are warm."""
    command = [sys.executable, "-c", PROGRAM, "run", f"benchmarks.services:{name}", "--url", url]
    process = subprocess.Popen(command, cwd=HOME.parent, stderr=subprocess.DEVNULL)
    try:
        time.sleep(WARM)
        (worker,) = _children(process.pid)
        yield process.pid, worker
    finally:
        process.terminate()
        process.wait(30)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu(pid: int) -> float:
    """Seconds of processor time, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB
