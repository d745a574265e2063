"""RabbitMQ as the kit sees it: a virtual host and a user for each test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tests.brokers.plugin import running
from tests.contract.rabbitmq_verbs import Verbs
from waybill_contracts.harness import Broker
from waybill_rabbitmq import RabbitMQ

__all__ = ["Rabbit"]


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
        with ExitStack() as stack:
            verbs = Verbs(running(self._fixture), stack)
            try:
                yield Broker(
                    url=verbs.url,
                    version=verbs.server.version,
                    options={"rabbitmq": {"heartbeat": 2}},
                    credentials=verbs.refused,
                    permissions=verbs.poor,
                    partitions=lambda number: RabbitMQ(partitions=number),
                    cannot={"rolling": "one server; the cluster's own tests restart them in turn"},
                    **verbs.given,
                )
            finally:
                await verbs.bring_back()
                await verbs.settle()
