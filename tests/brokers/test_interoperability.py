"""Programs that know nothing of Waybill publish to us and consume from us, on RabbitMQ."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aio_pika
import pytest
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue

from waybill import App, Delivery, Settings, Topic

PATIENCE = 20


@dataclass
class Order:
    number: int
    customer: str


ORDERS = Topic("shop.orders", Order, key=lambda order: order.customer, groups=["billing"])
BODY = b'{"number": 7, "customer": "c1"}'


def consumer(url: str) -> tuple[App, asyncio.Queue[Delivery[Order]]]:
    """An application of ours, and what it is handed."""
    app = App("billing", settings=Settings(url=url))
    arrived: asyncio.Queue[Delivery[Order]] = asyncio.Queue()

    @app.consume(ORDERS)
    async def take(order: Order, delivery: Delivery[Order]) -> None:
        assert order == Order(7, "c1")
        arrived.put_nowait(delivery)

    return app, arrived


async def bound(url: str, channel: Any) -> aio_pika.abc.AbstractQueue:
    """A queue of somebody else's that gets what is published to our topic."""
    async with App("shop", settings=Settings(url=url)).running(consume=False) as app:
        await app.publish(ORDERS, Order(1, "c0"))  # makes the exchange
    queue = await channel.declare_queue("theirs", durable=True, arguments={"x-queue-type": "quorum"})
    await queue.bind(ORDERS.name, "#")
    return queue


@pytest.mark.parametrize("of", ["properties", "CloudEvents"])
async def test_aio_pika_publishes_to_us(vhost: str, of: str) -> None:
    app, arrived = consumer(vhost)
    sent = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    async with app.running(), await aio_pika.connect(vhost) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(ORDERS.name)
        if of == "properties":
            message = aio_pika.Message(
                BODY, content_type="application/json", message_id="m1", timestamp=sent, headers={"tenant": "t1", "n": 3}
            )
        else:
            attributes = {
                "specversion": "1.0",
                "id": "m1",
                "source": "/shop",
                "type": "placed",
                "time": sent.isoformat(),
            }
            headers = {f"cloudEvents:{name}": value for name, value in attributes.items()}
            message = aio_pika.Message(BODY, content_type="application/json", headers={**headers, "tenant": "t1"})
        await exchange.publish(message, "whatever")
        delivery = await asyncio.wait_for(arrived.get(), PATIENCE)
    got = delivery.message
    assert (got.id, got.time, got.content_type, got.headers["tenant"]) == ("m1", sent, "application/json", "t1")
    if of == "properties":
        assert got.headers["n"] == "3"
    else:
        assert (got.source, got.type, dict(got.headers)) == ("/shop", "placed", {"tenant": "t1"})


async def test_a_message_that_says_nothing_of_itself_is_delivered(vhost: str) -> None:
    app, arrived = consumer(vhost)
    async with app.running(), await aio_pika.connect(vhost) as connection:
        exchange = await (await connection.channel()).get_exchange(ORDERS.name)
        await exchange.publish(aio_pika.Message(BODY), "")
        delivery = await asyncio.wait_for(arrived.get(), PATIENCE)
    assert delivery.message.id
    assert delivery.message.key is None
    assert not delivery.message.headers
    assert delivery.attempt == 1


async def test_aio_pika_consumes_what_we_publish(vhost: str) -> None:
    async with await aio_pika.connect(vhost) as connection:
        queue = await bound(vhost, await connection.channel())
        async with App("shop", settings=Settings(url=vhost)).running(consume=False) as app:
            confirmed = await app.publish(ORDERS, Order(7, "c1"), headers={"tenant": "t1"})
        message = await queue.get(timeout=PATIENCE)
        await message.ack()
    assert message.body.replace(b" ", b"") == BODY.replace(b" ", b"")
    assert (message.message_id, message.content_type) == (confirmed.id, "application/json")
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    attributes = {
        name: message.headers[f"cloudEvents:{name}"] for name in ("specversion", "id", "source", "partitionkey")
    }
    assert attributes == {"specversion": "1.0", "id": confirmed.id, "source": "shop", "partitionkey": "c1"}
    assert message.headers["tenant"] == "t1"


async def test_faststream_publishes_to_us(vhost: str) -> None:
    app, arrived = consumer(vhost)
    async with app.running(), RabbitBroker(vhost, logger=None) as broker:
        exchange = RabbitExchange(ORDERS.name, type=ExchangeType.TOPIC, durable=True, declare=False)
        await broker.publish(Order(7, "c1"), exchange=exchange, routing_key="", message_id="m1", persist=True)
        delivery = await asyncio.wait_for(arrived.get(), PATIENCE)
    assert (delivery.message.id, delivery.message.content_type) == ("m1", "application/json")
    assert delivery.message.correlation_id  # FastStream gives each message one


async def test_faststream_consumes_what_we_publish(vhost: str) -> None:
    arrived: asyncio.Queue[tuple[Order, str]] = asyncio.Queue()
    broker = RabbitBroker(vhost, logger=None)

    async def take(order: Order, message: Any) -> None:
        arrived.put_nowait((order, message.headers["cloudEvents:source"]))

    async with await aio_pika.connect(vhost) as connection:
        queue = await bound(vhost, await connection.channel())
    take.__annotations__ = {"order": Order, "message": message_of_faststream()}
    broker.subscriber(RabbitQueue(queue.name, declare=False))(take)
    async with broker:
        await broker.start()
        async with App("shop", settings=Settings(url=vhost)).running(consume=False) as app:
            await app.publish(ORDERS, Order(7, "c1"))
        assert await asyncio.wait_for(arrived.get(), PATIENCE) == (Order(7, "c1"), "shop")


def message_of_faststream() -> Any:
    """What a handler's parameter is marked with to be given the message."""
    from faststream.rabbit.annotations import RabbitMessage

    return RabbitMessage
