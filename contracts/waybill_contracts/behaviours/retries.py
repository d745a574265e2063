"""F. Retries: how often, how far apart, and for whom."""

from __future__ import annotations

from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task


@behaviour("R08", seconds=1)
async def a_retry_in_one_group_is_seen_by_no_other(bench: Bench) -> None:
    topic = bench.topic()
    failing, tries = bench.consumer(topic, "failing")
    calm, quiet = bench.app("calm"), list[int]()

    @calm.consume(topic)
    async def handle(task: Task) -> None:
        quiet.append(task.number)

    async with bench.running(failing, calm):
        await bench.publish(topic, *(Task(n, str(n), "fail=2" if n % 2 else "fail") for n in range(10)), app=failing)
        await bench.until(lambda: len(tries.of("failed")) == 25, "5 fail twice, 5 to their end")
        await bench.until(lambda: len(quiet) == 10)
        await bench.never(lambda: len(quiet) > 10, "a copy reaches the other group")
    assert sorted(quiet) == list(range(10))
    assert len(await bench.dead(topic, "failing")) == 5
    assert not await bench.dead(topic, "calm")
