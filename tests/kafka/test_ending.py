"""An application that ends while the broker is away leaves nothing: no task, and no failure that nobody has asked about."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.brokers.running import Running
from tests.contract.kafka import Kafka as Harness
from waybill import Topic
from waybill_contracts.bench import Bench
from waybill_contracts.leftovers import in_use, left_since
from waybill_contracts.linking import linked
from waybill_kafka import Kafka


@pytest.mark.parametrize("silent", [False, True], ids=["it refuses connections", "it says nothing"])
async def test_what_ends_in_an_outage_leaves_nothing(tmp_path: Path, kafka: Running, *, silent: bool) -> None:
    del kafka  # it runs
    async with Harness().broker(tmp_path) as broker, linked(broker, ["link"]) as through:
        with Bench(through, tmp_path) as bench:
            await _ends(bench, silent=silent)


async def _ends(bench: Bench, *, silent: bool) -> None:
    topic, link = Topic(bench.name("unheard"), bytes, groups=["group"]).on(Kafka(partitions=4)), bench.broker.link
    assert link is not None
    told, before = list[str](), in_use()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(f"{context!r:.300}"))
    app, stack = bench.app(), AsyncExitStack()
    await stack.enter_async_context(app.running(consume=False))
    await app.publish(topic, b"before")
    with link.silent() if silent else link.away():
        late = [asyncio.create_task(app.publish(topic, b"%d" % number, deadline=1.0)) for number in range(20)]
        await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
        last = [asyncio.create_task(app.publish(topic, b"%d" % number, deadline=9.0)) for number in range(20)]
        await asyncio.sleep(0.5)  # these are under way when it ends
        await stack.aclose()
        await asyncio.wait([*late, *last])
    assert all(task.exception() is not None for task in [*late, *last])
    del late, last, app, stack  # what nobody holds any more would complain

    async def left() -> list[str]:
        return left_since(before)

    await bench.eventually(left, lambda found: not found, "nothing is left of it, but")
    assert not told
