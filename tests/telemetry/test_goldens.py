"""All that is told of one message's way on each broker: names, kinds, parents, links, attributes, compared with what was looked
at by people. `GOLDEN=write` writes what there is now; look at the difference."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.kafka import Kafka
from tests.contract.rabbitmq import Rabbit
from tests.contract.sqs import QUEUE, TOPIC
from tests.telemetry.spans import Spans
from waybill import App, Batch, Delivery, Retry, Settings
from waybill.redrive import redrive
from waybill.telemetry.tracing import Tracing
from waybill_contracts.bench import Bench
from waybill_contracts.embedded import File
from waybill_contracts.harness import Harness
from waybill_contracts.tasks import Task

HERE = Path(__file__).parent / "golden"
ON = [
    pytest.param(File(), "embedded", id="embedded"),
    pytest.param(
        Rabbit("rabbitmq 4.3", "rabbitmq43"), "rabbitmq", id="rabbitmq", marks=pytest.mark.broker("rabbitmq43")
    ),
    pytest.param(Kafka(), "kafka", id="kafka", marks=pytest.mark.broker("kafka")),
    pytest.param(QUEUE, "sqs", id="sqs", marks=pytest.mark.broker("sqs")),
    pytest.param(TOPIC, "sns", id="sns", marks=pytest.mark.broker("sns")),
]


@pytest.mark.parametrize(("harness", "name"), ON)
async def test_what_is_told_is_what_was_looked_at(harness: Harness, name: str, tmp_path: Path) -> None:
    async with harness.broker(tmp_path) as broker:
        with Bench(broker, tmp_path) as bench:
            found = await told(bench)
    golden = HERE / f"{name}.json"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(golden.read_text())


async def told(bench: Bench) -> dict[str, Any]:
    """One message that fails twice and is redriven, and two that are published together and handled as one."""
    spans = Spans()
    orders, lots = bench.topic("orders"), bench.topic("lots", key=None)
    app = App("group", settings=settings(bench), instruments=[Tracing(spans.provider)])
    seen: list[Delivery[Task]] = []

    @app.consume(orders, retry=Retry.fixed(2, delay=0.1))
    async def take(_: Task, delivery: Delivery[Task]) -> None:
        seen.append(delivery)
        if not delivery.message.redrives:
            raise ValueError("it does not fit")

    @app.consume(lots, batch=Batch(2, wait=30.0))
    async def take_both(tasks: list[Task]) -> None:
        assert len(tasks) == 2

    async def step(do: Callable[[], Awaitable[Any]], last: str, *, within: int = 1) -> list[dict[str, Any]]:
        spans.clear()
        await do()
        await bench.until(lambda: len(spans.named(last)) >= within, lambda: f"{last}: {[s.name for s in spans.all]}")
        return spans.told(bench.name("")[:-1])

    found = {}
    async with app.running():
        dead = "dead_letter" if "DeadLetter" in {kind.__name__ for kind in bench.native} else "ack"
        found["a message that fails twice"] = await step(
            lambda: app.publish(orders, Task(1, key="k1")), dead, within=1 if dead == "dead_letter" else 2
        )
        found["its redrive"] = await step(lambda: redriven(app, bench, orders), "ack")
        found["two together"] = await step(lambda: app.publish_many(lots, [Task(2), Task(3)]), "ack")
    assert len(seen) == 3
    return found


async def redriven(app: App, bench: Bench, orders: Any) -> None:
    """By an operator, whose tools use the application's instruments."""
    await bench.eventually(lambda: bench.dead(orders), bool, "it is a dead letter")
    operator = App("group", settings=settings(bench), instruments=app.instruments)
    async with operator.connected() as brokers:
        assert (await redrive(brokers.of(orders.spec), bench.subscription(orders), lambda _: True)).sent == 1


def settings(bench: Bench) -> Settings:
    found = bench.app().settings
    assert found is not None
    return found
