"""V. What operators see: whether it lives, whether it is ready."""

from __future__ import annotations

import asyncio
import time

from waybill.ops.state import Process
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task

WITHIN = 10.0
"""Seconds after which readiness must say that the broker is away."""
PROBES = 500


@behaviour("V03", verbs=("away",), seconds=5)
async def readiness_says_that_the_broker_is_away_and_that_it_is_back_and_asks_nobody_for_it(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    process = Process(app)
    assert bench.broker.away is not None
    assert not process.state().ready, "it is ready before it runs"
    async with app.running():
        await bench.publish(topic, Task(1), app=app)
        await bench.until(lambda: journal.numbers() == [1], "it consumes")
        await bench.settled(topic)
        await bench.until(lambda: process.state().ready, "it is ready")
        await _asks_nobody(bench, process)
        await bench.publish(topic, Task(2, do="sleep=0.5"), app=app)
        await bench.until(lambda: 2 in journal.numbers("started"), "something is to be settled meanwhile")
        async with bench.broker.away():
            await bench.until(lambda: not process.state().ready, "it is not ready any more", within=WITHIN)
            away = process.state()
            assert away.live, f"a new process would be no better off: {away.reasons}"
            assert away.reasons, "it does not say why"
        await bench.until(lambda: process.state().ready, "it is ready again")
        await bench.publish(topic, Task(3), app=app)
        await bench.until(lambda: 3 in journal.numbers(), "it consumes again")
        assert process.state().ready, "it consumes, and is not ready"
    assert not process.state().ready, "it is ready though it has ended"


async def _asks_nobody(bench: Bench, process: Process) -> None:
    """However often it is asked: no connection is made, nothing is waited for, and nothing is left running."""
    link = bench.broker.link
    before, running, began = link and link.accepted, asyncio.all_tasks(), time.monotonic()
    for _ in range(PROBES):
        assert process.state().ready
    took = time.monotonic() - began
    assert took < WITHIN, f"{PROBES} probes took {took:.1f} s"
    assert asyncio.all_tasks() <= running, "a probe leaves something running"
    await asyncio.sleep(0.1)  # were there a connection to be made, it would be by now
    assert (link and link.accepted) == before, "a probe has connected"
