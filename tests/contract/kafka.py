"""Kafka as the kit sees it: shared, since every test has names of its own; behind a proxy where a test asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from tests.brokers.plugin import running
from waybill_contracts.harness import Broker, Route
from waybill_kafka import Kafka as Options

__all__ = ["Kafka"]


class Kafka:
    """Its tests are marked `broker("kafka")`."""

    name = "kafka 4.3"
    waived: Mapping[str, str] = {
        "F03": "a partition is one member's, so what lies behind what that one handles waits for it",
    }

    @property
    def provider(self) -> str:
        return running("kafka").provider

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        server = running("kafka")

        async def restart() -> None:
            await asyncio.to_thread(server.restart)

        async def foreign(topic: str, body: bytes) -> None:
            async with AIOKafkaProducer(bootstrap_servers=server.address) as producer:
                await producer.send_and_wait(topic, body)

        try:
            yield Broker(
                url=server.url,
                version="4",  # a broker tells what it understands, and not which 4 it is
                route=Route(
                    host=urlsplit(server.url).hostname or "",
                    port=server.further["proxied"],
                    url=lambda host, port: f"kafka://{host}:{port}",
                    listen=server.further["proxy"],
                ),
                options={"kafka": {"session_timeout": 3.0}},
                restart=restart,
                foreign=foreign,
                partitions=lambda number: Options(partitions=number),
                cannot=CANNOT,
            )
        finally:
            await _clear(server.address)


CANNOT = {
    "remove": "Kafka removes no group that has members",
    "credentials": "the broker of the tests has no security",
    "permissions": "the broker of the tests has no security",
    "rolling": "one server; the cluster's own tests restart them in turn",
}


async def _clear(address: str) -> None:
    """Delete what the test has made: thousands of partitions would slow all later ones down."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        mine = [topic for topic in await admin.list_topics() if not topic.startswith("__")]
        if mine:
            await admin.delete_topics(mine)
    finally:
        await admin.close()
