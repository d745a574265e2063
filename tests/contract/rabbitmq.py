"""RabbitMQ as the kit sees it: a virtual host for each test, behind a proxy of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit, urlunsplit

import aiormq

from tests.brokers.administration import Administration, vhost_of
from tests.brokers.plugin import running
from waybill_contracts.faults.proxy import Proxy
from waybill_contracts.harness import Broker
from waybill_rabbitmq import RabbitMQ

__all__ = ["Rabbit"]

SETTLED = 3.0
"""Seconds after a restart."""


class Rabbit:
    """One version. Its tests are marked `broker(fixture)`."""

    waived: Mapping[str, str] = {}

    def __init__(self, name: str, fixture: str) -> None:
        self.name = name
        self._fixture = fixture

    @property
    def provider(self) -> str:
        return running(self._fixture).provider

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        server = running(self._fixture)
        host, port = urlsplit(server.url).hostname or "", urlsplit(server.url).port or 0
        boss = Administration(server)
        with ExitStack() as stack:
            url = stack.enter_context(boss.vhost())
            poor = stack.enter_context(boss.user(url, write=".*", read=".*"))
            boss.ask("PUT", f"permissions/{quote(vhost_of(url), safe='')}/guest", dict.fromkeys(RIGHTS, ".*"))
            async with Proxy(host, port) as proxy:

                def behind(url: str, who: str | None = None) -> str:
                    parts = urlsplit(url)
                    user = who or parts.netloc.rpartition("@")[0]
                    return urlunsplit(parts._replace(netloc=f"{user}@{proxy.host}:{proxy.port}"))

                @asynccontextmanager
                async def away() -> AsyncGenerator[None, None]:
                    with proxy.away():
                        yield

                @asynccontextmanager
                async def throttle() -> AsyncGenerator[None, None]:
                    with proxy.throttled(20_000):
                        yield

                async def cut() -> None:
                    proxy.cut()

                restarted = float("-inf")

                async def restart() -> None:
                    nonlocal restarted
                    await asyncio.to_thread(server.restart)
                    restarted = time.monotonic()

                async def remove(topic: str, group: str) -> None:
                    for queue in (f"{topic}/{group}", *(f"{topic}/{group}/{n}" for n in range(8))):
                        with suppress(HTTPError):  # it has the one or the other
                            boss.ask("DELETE", f"queues/{vhost_of(url)}/{quote(queue, safe='')}")

                async def foreign(topic: str, body: bytes) -> None:
                    async with aiormq.connect(url) as connection:
                        channel = await connection.channel()
                        await channel.basic_publish(body, exchange=topic)

                yield Broker(
                    url=behind(url),
                    version=server.version,
                    options={"rabbitmq": {"heartbeat": 2}},
                    restart=restart,
                    away=away,
                    cut=cut,
                    credentials=behind(url, "guest:wrong"),
                    throttle=throttle,
                    remove=remove,
                    cannot={"rolling": "one server; the cluster's own tests restart them in turn"},
                    foreign=foreign,
                    permissions=behind(poor),
                    partitions=lambda number: RabbitMQ(partitions=number),
                )
                # Removing many queues that dead-letter at least once, while their workers start after a restart, ends the
                # supervisor of those workers (4.0.5): then no such queue can be declared any more.
                await asyncio.sleep(restarted + SETTLED - time.monotonic())


RIGHTS = ("configure", "write", "read")
