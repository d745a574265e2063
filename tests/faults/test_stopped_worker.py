"""A worker that is stopped (SIGSTOP) is relieved by the others, and cannot settle what it lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from waybill_contracts.bench import Bench
from waybill_contracts.embedded import File
from waybill_contracts.faults.checking import unsettled
from waybill_contracts.faults.fault import lasting
from waybill_contracts.faults.range import Range
from waybill_contracts.workers import Worker

STOPPED_FOR = lasting(60.0, 6.0)
LEASE = lasting(30.0, 2.0)


@pytest.mark.timeout(120 + STOPPED_FOR)
async def test_a_stopped_worker_is_relieved_and_what_it_did_late_is_noticed(tmp_path: Path) -> None:
    """A worker that holds the file's turn when it is stopped is resumed and stopped again: SQLite has no way to take a
    lock from a living process (docs/adr/0005)."""
    async with File().broker(tmp_path) as broker:
        with Bench(broker, tmp_path) as bench:
            await _relieved(Range(bench))


async def _relieved(place: Range) -> None:
    await place.bench.declare(place.consumer())
    publisher = await place.publisher(busy=0.1)
    stopped, other = await place.worker(lease=LEASE), await place.worker(lease=LEASE)
    await place.bench.until(lambda: unsettled(stopped.journal().steps, stopped.pid) > 2, "the worker is busy")
    stopped.pause()
    while not await _moves(place):
        stopped.go_on()
        await asyncio.sleep(0.05)
        stopped.pause()
    held = unsettled(stopped.journal().steps, stopped.pid)
    async with place.fault():
        await asyncio.sleep(STOPPED_FOR)
        assert await _moves(place, within=10.0), "the other one does not go on"
        stopped.go_on()
    await place.bench.until(lambda: _began_after(stopped, place.over[0]), "the worker works again")
    assert await publisher.stop() == 0
    await place.calm()
    for worker in (stopped, other):
        assert await worker.stop() == 0
    await place.holds(repeats=held, within=5.0)
    assert "lease" in stopped.errors  # it said what it lost


def _began_after(worker: Worker, at: float) -> bool:
    return any(step.what == "started" and step.at > at for step in worker.journal().steps)


async def _moves(place: Range, within: float = 0.5) -> bool:
    """Whether something that is published from now on is confirmed within so many seconds: that takes the file's turn, while
    handlers of what a worker holds already go on without it."""
    before, end = time.monotonic_ns(), time.monotonic() + within
    while time.monotonic() < end:
        if any(number > before for number in place.numbers("ok")):
            return True
        await asyncio.sleep(0.02)
    return False
