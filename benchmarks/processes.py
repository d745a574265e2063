"""Two processes consuming one preloaded file, against one process: how much a second one brings.

The handler works for 100 µs of processor time. Measured is the throughput by the wall clock, from the first handling's
start to the last one's end. The second line is what the machine itself gives: the same work in one and in two processes
without any broker. On a machine that is busy otherwise, that is the ceiling.

Run as a program, this module is one of those processes: it says `ready`, waits for a line, works, and answers with
how many messages it handled and when it began and ended (`time.monotonic()`, the same clock in all processes).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmarks.consume import preload
from benchmarks.embedded import application, copied, remove
from benchmarks.harness import HOME, Row, Run, against, interleave
from benchmarks.payload import ORDERS, Order

__all__ = ["Child", "children", "measure"]

MESSAGES = 6_400
WORK = 100_000
"""Nanoseconds of processor time a handling."""
QUIET = 0.4
"""Seconds without a message after which a process knows that there are none left."""


def measure(run: Run) -> list[Row]:
    """Messages a second."""
    count = run.messages(MESSAGES)
    with remove(run.folder / "preloaded") as folder:
        bus = folder / "bus.db"
        preload(bus, count)
        found = interleave(
            {
                "one": lambda: _consumed(bus, run.folder, count, 1),
                "two": lambda: _consumed(bus, run.folder, count, 2),
                "one alone": lambda: _throughput(["work", str(count)], 1, count),
                "two alone": lambda: _throughput(["work", str(count // 2)], 2, count),
            },
            run.rounds,
        )
    return [
        against("two processes on one file vs one", "messages/s wall", found["two"], found["one"], at_least=1.5),
        against("the machine: two busy processes vs one", "calls/s wall", found["two alone"], found["one alone"]),
    ]


def _consumed(template: Path, folder: Path, count: int, processes: int) -> float:
    with copied(template, folder) as file:
        return _throughput(["consume", str(file)], processes, count)


def _throughput(arguments: Sequence[str], processes: int, count: int) -> float:
    with children([["benchmarks.processes", *arguments]] * processes) as started:
        answers = [answer.split() for answer in ask(started)]
    handled = sum(int(number) for number, _, _ in answers)
    if handled != count:
        raise RuntimeError(f"{handled} of {count} handled")
    busy = [(float(first), float(last)) for number, first, last in answers if int(number)]
    return count / (max(last for _, last in busy) - min(first for first, _ in busy))


# --------------------------------------------------------------------------- processes


Child = subprocess.Popen[str]


@contextmanager
def children(modules: Sequence[Sequence[str]]) -> Iterator[list[Child]]:
    """Start modules of this package as processes, and end them, whatever happens."""
    started: list[Child] = []
    try:
        for module in modules:
            started.append(_start(module))  # noqa: PERF401 - those that started are ended if one does not
        yield started
    finally:
        for child in started:
            if child.poll() is None:
                child.kill()
            child.communicate()


def _start(module: Sequence[str]) -> Child:
    command = [sys.executable, "-m", *module]
    return subprocess.Popen(
        command, cwd=HOME.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def ask(started: Sequence[Child], before: Callable[[], None] = lambda: None) -> list[str]:
    """Wait until all are ready, do what comes before, let them begin together, and return the line each answers with."""
    for child in started:
        _line(child)
    before()
    for child in started:
        _pipe(child.stdin).write("go\n")
    return [_line(child) for child in started]


def _line(child: Child) -> str:
    line = _pipe(child.stdout).readline()
    if not line:
        raise RuntimeError(f"a process ended early with {child.wait()}")
    return line.strip()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("no pipe to the process")
    return pipe


# --------------------------------------------------------------------------- inside such a process


def _busy() -> None:
    end = time.thread_time_ns() + WORK
    while time.thread_time_ns() < end:
        pass


async def _consume(file: Path) -> tuple[int, float, float]:
    app = application(file)
    handled, first, last = 0, 0.0, time.monotonic()

    @app.consume(ORDERS, concurrency=10)
    async def consume(order: Order) -> None:
        nonlocal handled, first, last
        first = first or time.monotonic()
        _busy()
        handled += 1
        last = time.monotonic()

    print("ready", flush=True)
    sys.stdin.readline()
    async with app.running():
        while not handled or time.monotonic() - last < QUIET:
            await asyncio.sleep(QUIET / 4)
            if not handled and time.monotonic() - last > 10 * QUIET:
                break
    return handled, first, last


def _work(count: int) -> tuple[int, float, float]:
    print("ready", flush=True)
    sys.stdin.readline()
    first = time.monotonic()
    for _ in range(count):
        _busy()
    return count, first, time.monotonic()


if __name__ == "__main__":
    what, argument = sys.argv[1:]
    print(*(asyncio.run(_consume(Path(argument))) if what == "consume" else _work(int(argument))), flush=True)
