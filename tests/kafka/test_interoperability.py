"""Programs that know nothing of Waybill publish to us and consume from us, on Kafka."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from faststream.kafka import KafkaBroker

from tests.brokers.running import Running
from waybill import App, Delivery, Topic
from waybill_contracts.bench import Bench

PATIENCE = 20
BODY = b'{"number": 7, "customer": "c1"}'
SENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Order:
    number: int
    customer: str


def orders(bench: Bench) -> Topic[Order]:
    return Topic(bench.name("orders"), Order, key=lambda order: order.customer, groups=["billing"])


def consumer(bench: Bench, topic: Topic[Order]) -> tuple[App, asyncio.Queue[Delivery[Order]]]:
    """An application of ours, and what it is handed."""
    app, arrived = bench.app("billing"), asyncio.Queue[Delivery[Order]]()

    @app.consume(topic)
    async def take(order: Order, delivery: Delivery[Order]) -> None:
        assert order == Order(7, "c1")
        arrived.put_nowait(delivery)

    return app, arrived


@pytest.mark.parametrize("of", ["its record", "CloudEvents"])
async def test_a_raw_client_publishes_to_us(bench: Bench, kafka: Running, of: str) -> None:
    topic = orders(bench)
    app, arrived = consumer(bench, topic)
    headers = [("content-type", b"application/json"), ("tenant", b"t1")]
    if of == "CloudEvents":  # the binary mode of the Kafka binding
        attributes = {"specversion": "1.0", "id": "m1", "source": "/shop", "type": "placed", "time": SENT.isoformat()}
        headers += [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    async with app.running(), AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
        at = round(SENT.timestamp() * 1000)
        await producer.send_and_wait(topic.name, BODY, key=b"c1", headers=headers, timestamp_ms=at)
        got = (await asyncio.wait_for(arrived.get(), PATIENCE)).message
    assert (got.key, got.time, got.content_type, dict(got.headers)) == (
        "c1",
        SENT,
        "application/json",
        {"tenant": "t1"},
    )
    assert (got.source, got.type) == (("/shop", "placed") if of == "CloudEvents" else (got.source, topic.name))
    assert (got.id == "m1") == (of == "CloudEvents")


async def test_a_raw_client_consumes_what_we_publish_as_cloudevents(bench: Bench, kafka: Running) -> None:
    topic = orders(bench)
    async with bench.app("shop").running(consume=False) as app:
        confirmed = await app.publish(topic, Order(7, "c1"), headers={"tenant": "t1"})
    theirs = AIOKafkaConsumer(topic.name, bootstrap_servers=kafka.address, auto_offset_reset="earliest")
    async with theirs:
        record = await asyncio.wait_for(theirs.getone(), PATIENCE)
    headers = dict(record.headers)
    assert (record.key, record.value.replace(b" ", b"")) == (b"c1", BODY.replace(b" ", b""))
    assert headers["content-type"] == b"application/json"
    assert {headers[f"ce_{name}"] for name in ("specversion", "source", "type")} == {
        b"1.0",
        b"shop",
        topic.name.encode(),
    }
    assert (headers["ce_id"], headers["ce_partitionkey"]) == (confirmed.id.encode(), b"c1")
    assert datetime.fromisoformat(headers["ce_time"].decode()).tzinfo is not None
    assert headers["tenant"] == b"t1"


async def test_faststream_publishes_to_us(bench: Bench, kafka: Running) -> None:
    topic = orders(bench)
    app, arrived = consumer(bench, topic)
    async with app.running(), KafkaBroker(kafka.address, logger=None) as broker:
        await broker.publish(Order(7, "c1"), topic.name, key=b"c1", correlation_id="story-1", headers={"tenant": "t1"})
        got = (await asyncio.wait_for(arrived.get(), PATIENCE)).message
    assert (got.key, got.content_type, got.headers["tenant"]) == ("c1", "application/json", "t1")
    assert got.headers["correlation_id"] == "story-1"


async def test_faststream_consumes_what_we_publish(bench: Bench, kafka: Running) -> None:
    topic = orders(bench)
    arrived: asyncio.Queue[tuple[Order, str]] = asyncio.Queue()
    broker = KafkaBroker(kafka.address, logger=None)

    async def take(order: Order, message: Any) -> None:
        arrived.put_nowait((order, message.headers["ce_source"]))

    take.__annotations__ = {"order": Order, "message": message_of_faststream()}
    broker.subscriber(topic.name, auto_offset_reset="earliest")(take)
    async with bench.app("shop").running(consume=False) as app:
        await app.publish(topic, Order(7, "c1"))
    async with broker:
        await broker.start()
        assert await asyncio.wait_for(arrived.get(), PATIENCE) == (Order(7, "c1"), "shop")


def message_of_faststream() -> Any:
    """What a handler's parameter is marked with to be given the message."""
    from faststream.kafka.annotations import KafkaMessage

    return KafkaMessage
