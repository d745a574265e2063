"""Each broker through its raw client: a message goes in and comes out, and a restart keeps it."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import aioboto3
import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.brokers.administration import Administration
from tests.brokers.owning import ours
from tests.brokers.running import Running

COUNT = 20
BODIES = [b"%d" % number for number in range(COUNT)]


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:12]}"


async def fill_queue(url: str, queue: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True)
        for body in BODIES:
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, queue)


async def drain_queue(url: str, queue: str) -> list[bytes]:
    async with await aio_pika.connect(url) as connection:
        bodies: list[bytes] = []
        found = await (await connection.channel()).declare_queue(queue, passive=True)
        while (message := await found.get(fail=False)) is not None:
            await message.ack()
            bodies.append(message.body)
        await found.delete(if_empty=False)  # RabbitMQ may hold it for full a moment after the last ack
        return bodies


async def round_trip(url: str) -> None:
    queue = unique("smoke")
    await fill_queue(url, queue)
    assert await drain_queue(url, queue) == BODIES


async def test_rabbitmq(each_rabbitmq: Running) -> None:
    await round_trip(each_rabbitmq.url)


@pytest.mark.disturbs
@pytest.mark.parametrize("end", ["restart", "kill", "stop"])
async def test_rabbitmq_restart_keeps_data(each_rabbitmq: Running, end: str) -> None:
    ours(each_rabbitmq)
    queue = unique("smoke")
    await fill_queue(each_rabbitmq.url, queue)
    if end == "kill":
        await asyncio.to_thread(Administration(each_rabbitmq).store)
    if end == "restart":
        await asyncio.to_thread(each_rabbitmq.restart)
    else:
        await asyncio.to_thread(getattr(each_rabbitmq, end))
        with pytest.raises(OSError):
            await aio_pika.connect(each_rabbitmq.url)
        await asyncio.to_thread(each_rabbitmq.start)
    assert await drain_queue(each_rabbitmq.url, queue) == BODIES


@pytest.mark.disturbs
async def test_rabbitmq_is_paused_and_resumed(each_rabbitmq: Running) -> None:
    ours(each_rabbitmq)
    place = urlsplit(each_rabbitmq.url)
    each_rabbitmq.pause()
    try:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(b"AMQP\x00\x00\x09\x01")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.read(1)
        writer.close()
        await writer.wait_closed()
    finally:
        each_rabbitmq.resume()
    await round_trip(each_rabbitmq.url)


async def fill_topic(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        created = await admin.create_topics([NewTopic(topic, 1, 1)])
        assert [error for _, error, *_ in created.topic_errors] == [0]
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True) as producer:
        for body in BODIES:
            await producer.send_and_wait(topic, body)


async def read_topic(address: str, topic: str) -> list[bytes]:
    options: dict[str, Any] = {"group_id": topic, "auto_offset_reset": "earliest", "enable_auto_commit": False}
    async with AIOKafkaConsumer(topic, bootstrap_servers=address, **options) as consumer:
        async with asyncio.timeout(20):
            return [(await consumer.getone()).value for _ in BODIES]


async def test_kafka(kafka: Running) -> None:
    topic = unique("smoke")
    await fill_topic(kafka.address, topic)
    assert await read_topic(kafka.address, topic) == BODIES


@pytest.mark.disturbs
@pytest.mark.parametrize("end", ["restart", "kill"])
async def test_kafka_restart_keeps_data(kafka: Running, end: str) -> None:
    ours(kafka)
    topic = unique("smoke")
    await fill_topic(kafka.address, topic)
    if end == "kill":
        await asyncio.to_thread(kafka.kill)
    await asyncio.to_thread(kafka.restart)
    assert await read_topic(kafka.address, topic) == BODIES


def client(service: str, broker: Running) -> Any:
    session = aioboto3.Session("key", "secret", region_name="us-east-1")
    return session.client(service, endpoint_url=broker.url)


async def receive(sqs: Any, url: str) -> list[str]:
    """All that is in the queue, taken away."""
    bodies: list[str] = []
    while messages := (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages"):
        for message in messages:
            bodies.append(message["Body"])
            await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


@pytest.mark.disturbs
@pytest.mark.parametrize("end", ["", "restart", "kill"])
async def test_sqs(sqs: Running, end: str) -> None:
    if end:
        ours(sqs)
    async with client("sqs", sqs) as queues:
        url = (await queues.create_queue(QueueName=unique("smoke")))["QueueUrl"]
        for body in BODIES:
            await queues.send_message(QueueUrl=url, MessageBody=body.decode())
    if end == "kill":
        await asyncio.to_thread(sqs.kill)
    if end:
        await asyncio.to_thread(sqs.restart)
    bodies: list[str] = []
    async with client("sqs", sqs) as queues, asyncio.timeout(30):
        while len(bodies) < len(BODIES):  # ElasticMQ answers before it has read all that it keeps
            with suppress(queues.exceptions.QueueDoesNotExist):
                bodies += await receive(queues, url)
            await asyncio.sleep(0.05)
    assert sorted(bodies) == sorted(body.decode() for body in BODIES)


async def test_sns_to_sqs(sns: Running) -> None:
    async with client("sns", sns) as topics, client("sqs", sns) as queues:
        topic = (await topics.create_topic(Name=unique("smoke")))["TopicArn"]
        url = (await queues.create_queue(QueueName=unique("smoke")))["QueueUrl"]
        attributes = await queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        raw = {"RawMessageDelivery": "true", "FilterPolicy": json.dumps({"region": ["eu"]})}
        await topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
        for region in ("eu", "us"):
            region_attribute = {"region": {"DataType": "String", "StringValue": region}}
            await topics.publish(TopicArn=topic, Message=f"for {region}", MessageAttributes=region_attribute)
        assert await receive(queues, url) == ["for eu"]


@pytest.mark.disturbs
@pytest.mark.parametrize("end", ["", "restart", "kill", "stop"])
async def test_postgres(postgres: Running, end: str) -> None:
    if end:
        ours(postgres)
    table = unique("smoke")
    connection = await asyncpg.connect(postgres.url)  # stays open: whoever is connected does not hold up the end
    await connection.execute(f'CREATE TABLE "{table}" (body bytea)')
    await connection.executemany(f'INSERT INTO "{table}" VALUES ($1)', [(body,) for body in BODIES])
    if end:
        await asyncio.to_thread(getattr(postgres, end))
        await asyncio.to_thread(postgres.start)
        connection.terminate()
        connection = await asyncpg.connect(postgres.url)
    assert [body for (body,) in await connection.fetch(f'SELECT body FROM "{table}"')] == BODIES
    await connection.close()


@pytest.mark.disturbs
async def test_postgres_is_paused_and_resumed_with_whoever_is_connected(postgres: Running) -> None:
    ours(postgres)
    connection = await asyncpg.connect(postgres.url)
    postgres.pause()
    try:
        asked = asyncio.create_task(connection.fetchval("SELECT 1"))
        done, _ = await asyncio.wait([asked], timeout=0.5)
        assert not done
    finally:
        postgres.resume()
    assert await asked == 1
    await connection.close()
