"""J. Lifecycle: starting, stopping, and what is left behind."""

from __future__ import annotations

import asyncio
import time

from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task


@behaviour("L05", seconds=3)
async def what_a_stopped_consumer_had_not_started_is_handled_by_another_within_three_seconds(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    slow, first = bench.consumer(topic, concurrency=1, window=20, lease=30.0, shutdown_grace=0.5)
    await bench.publish(topic, *(Task(n, str(n), "sleep=1.5" if n == 0 else "") for n in range(12)))
    other, second = bench.consumer(topic, lease=30.0)
    async with slow.running():
        await bench.until(lambda: first.of("started"), "the first is busy")
        await bench.until(lambda: (slow.health().parts[0].held or 0) >= 2, "it holds more than it has started")
        stopping = asyncio.get_running_loop().create_future()
        stopping.set_result(None)
    stopped = time.monotonic()
    async with other.running():
        await bench.until(lambda: len(set(second.numbers()) | set(first.numbers())) == 12, "the other has them")
        took = time.monotonic() - stopped
    assert took <= 3.0, f"after {took:.1f} s"
    assert {step.attempt for step in second.of("started")} == {1}
    assert len(second.numbers()) == len(set(second.numbers()))
