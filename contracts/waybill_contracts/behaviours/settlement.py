"""E. Settlement: what an acknowledgement, a failure and a release mean."""

from __future__ import annotations

from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task


@behaviour("A04", verbs=("processes",), needs=("durable",), seconds=4)
async def what_was_not_acknowledged_comes_back_after_a_crash_and_nothing_else(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    first = await bench.worker(topic, lease=2.0)
    await bench.publish(topic, *(Task(n, str(n), "wait" if n in {3, 5} else "") for n in range(1, 6)))
    await bench.until(lambda: sorted(first.journal().numbers()) == [1, 2, 4], "1, 2 and 4 are handled")
    await bench.until(lambda: sorted(first.journal().numbers("started")) == [1, 2, 3, 4, 5])
    await bench.eventually(
        lambda: bench.backlog(topic),
        lambda backlog: (backlog.in_flight.value or 0) + (backlog.ready.value or 0) <= 2,
        "their acknowledgements have arrived",
    )
    first.kill()
    bench.open_gate()
    second = await bench.worker(topic, lease=2.0)
    await bench.until(lambda: {3, 5} <= set(second.journal().numbers("started")), "3 and 5 come back")
    await bench.never(lambda: {1, 2} & set(second.journal().numbers("started")), "1 and 2 come back", during=1.0)
    if 4 in second.journal().numbers("started"):
        bench.partial("what is acknowledged behind what is not may come again after a crash")


@behaviour("A06", seconds=1)
async def a_failed_message_comes_back_though_a_later_one_was_acknowledged(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=1)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "fail=1" if n == 5 else "") for n in range(1, 9)), app=app)
        await bench.until(lambda: len(journal.of("done")) == 8, "all are handled, the failed one as well")
    assert journal.attempts(5) == [1, 2]
    assert sorted(journal.numbers()) == list(range(1, 9))
    async with app.running():
        await bench.never(lambda: len(journal.of("started")) > 9, "something comes again")
