"""I. Flow: how much at once, for how long, and when not."""

from __future__ import annotations

from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task


@behaviour("F06", seconds=4)
async def a_handler_that_runs_for_three_leases_is_the_only_one(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, lease=1.0)
    other, others = bench.consumer(topic, lease=1.0)
    async with bench.running(app, other):
        await bench.publish(topic, *(Task(n, str(n), "sleep=3") for n in range(4)), app=app)
        await bench.until(lambda: len(journal.of("done")) + len(others.of("done")) == 4, "all are handled")
        await bench.never(lambda: len(journal.of("started")) + len(others.of("started")) > 4, "one is handled twice")
    assert {step.attempt for step in journal.steps + others.steps} == {1}


@behaviour("F07", verbs=("processes",), needs=("durable",), seconds=8)
async def when_a_lease_is_lost_the_handler_is_cancelled_and_its_result_does_not_count(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    first = await bench.worker(topic, lease=1.0)
    await bench.publish(topic, Task(1, "a", "sleep=8"))
    await bench.until(lambda: first.journal().of("started"), "the first has it")
    first.pause()
    second = await bench.worker(topic, lease=1.0)
    await bench.until(lambda: second.journal().of("started"), "the second takes it over")
    first.go_on()
    await bench.until(lambda: first.journal().of("cancelled"), "the first one's handler is cancelled", within=5.0)
    await bench.until(lambda: second.journal().numbers() == [1], "the second handles it")
    assert not first.journal().of("done")
    await bench.eventually(lambda: bench.backlog(topic), lambda b: not b.ready.value and not b.in_flight.value)
    assert not await bench.dead(topic)
