"""D. Order: by key, whatever fails, and whoever dies."""

from __future__ import annotations

from waybill import Retry
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task


@behaviour("O04", needs=("ordered",), seconds=2)
async def later_ones_of_a_key_wait_for_its_failed_message(bench: Bench) -> None:
    topic = bench.topic()
    retry = Retry.fixed(5, delay=0.3)
    app, journal = bench.consumer(topic, ordered=True, concurrency=8, retry=retry)
    other, others = bench.consumer(topic, ordered=True, concurrency=8, retry=retry)
    tasks = [Task(n, "K", "fail=2" if n == 2 else "") for n in range(1, 6)]
    tasks += [Task(n, f"other-{n % 4}") for n in range(10, 30)]
    async with bench.running(app, other):
        await bench.publish(topic, *tasks, app=app)
        await bench.until(lambda: len(journal.of("done")) + len(others.of("done")) == len(tasks), "all are handled")
    steps = sorted(journal.steps + others.steps, key=lambda step: step.at)
    done = [step.number for step in steps if step.key == "K" and step.what == "done"]
    begun = [(step.number, step.attempt) for step in steps if step.key == "K" and step.what == "started"]
    assert done == [1, 2, 3, 4, 5]
    assert begun == [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1), (5, 1)]
