"""What adapters' tests do to RabbitMQ beyond connecting: rights, connections, `rabbitmqctl`; and a proxy in front of Kafka."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aio_pika
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiormq.exceptions import AMQPError, ChannelAccessRefused

from tests.brokers.administration import Administration, vhost_of
from tests.brokers.owning import ours
from tests.brokers.running import Running


async def test_each_test_has_a_virtual_host_of_its_own(boss: Administration) -> None:
    with boss.vhost() as url, boss.vhost() as other:
        async with await aio_pika.connect(url) as connection, await aio_pika.connect(other) as beside:
            await (await connection.channel()).declare_queue("same")
            with pytest.raises(AMQPError, match="no queue 'same'"):
                await (await beside.channel()).get_queue("same", ensure=True)
    assert not {vhost_of(url), vhost_of(other)} & {vhost["name"] for vhost in boss.ask("GET", "vhosts")}


async def test_a_user_may_do_what_was_allowed_and_no_more(boss: Administration, vhost: str) -> None:
    async with await aio_pika.connect(vhost) as connection:
        await (await connection.channel()).declare_queue("orders")
    with boss.user(vhost, write="amq.default", read="orders") as url:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            await channel.default_exchange.publish(aio_pika.Message(b"1"), "orders")
            assert (await (await channel.get_queue("orders")).get(no_ack=True)).body == b"1"
            with pytest.raises(ChannelAccessRefused):
                await channel.declare_queue("another")


async def test_all_connections_of_a_virtual_host_are_closed(boss: Administration, vhost: str) -> None:
    closed = asyncio.Event()
    async with await aio_pika.connect(vhost) as connection, await aio_pika.connect(boss.broker.url) as other:
        connection.close_callbacks.add(lambda *_: closed.set())
        await asyncio.to_thread(boss.close_connections, vhost)
        async with asyncio.timeout(10):
            await closed.wait()
        assert not other.is_closed


def test_rabbitmqctl_runs_beside_the_broker(boss: Administration) -> None:
    assert boss.ctl("eval", "1 + 1.") == "2"
    assert boss.ctl("version").startswith(boss.broker.version)


LETTERS = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "letters",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


async def declared(url: str, count: int) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for number in range(count):
            await channel.declare_queue(f"queue-{number}", durable=True, arguments=LETTERS)


@pytest.mark.disturbs
async def test_what_a_restarted_broker_has_settled_can_be_removed(boss: Administration) -> None:
    """Or 4.0.5, which has many workers to start then, takes no such queue any more."""
    with boss.vhost() as url:
        await declared(url, 120)
        await asyncio.to_thread(boss.broker.restart)
        await asyncio.to_thread(boss.settle)
    with boss.vhost() as url:
        await declared(url, 1)


AS_PLAIN: dict[str, Any] = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "plain",
    "sasl_plain_password": "plain-secret",
}


@pytest.mark.disturbs
async def test_who_comes_to_kafka_by_the_proxy_is_told_of_the_proxy_only(kafka: Running) -> None:
    host = ours(kafka).address.rpartition(":")[0]
    passed: list[asyncio.Task[None]] = []

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
        target.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, kafka.further["proxied0"])
        passed.extend(asyncio.create_task(pump(*pair)) for pair in ((reader, back), (there, writer)))

    proxy = f"127.0.0.1:{kafka.further['proxy0']}"
    async with await asyncio.start_server(forward, "127.0.0.1", kafka.further["proxy0"]):
        admin = AIOKafkaAdminClient(bootstrap_servers=proxy, client_id=uuid.uuid4().hex, **AS_PLAIN)
        await admin.start()
        brokers = (await admin.describe_cluster())["brokers"]
        await admin.close()
        await asyncio.gather(*passed)
    assert [f"{broker['host']}:{broker['port']}" for broker in brokers] == [proxy]
    assert len(passed) >= 4
