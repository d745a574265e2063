"""PostgreSQL as the kit sees it, through the adapter of examples/adapter, installed as its users install it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from examples.adapter.harness import Postgres
from tests.brokers.plugin import running
from tests.contract.installing import installed
from tests.contract.outages import Outages
from waybill_contracts import Broker

__all__ = ["PROJECT", "Ours"]

PROJECT = Path(__file__).parents[2] / "examples" / "adapter"


class Ours(Postgres):
    """On the server of the tests, which may be ended as well. Its tests are marked `broker("postgres")`."""

    name = "postgres (example)"

    def __init__(self) -> None:
        super().__init__("")

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        installed(PROJECT)
        server = running("postgres")
        self.url, self.provider = server.url, server.provider
        outages = Outages(server)
        names = ("restart", "kill", "stop", "pause", "resume")
        async with super().broker(folder, **{name: getattr(outages, name) for name in names}) as broker:
            try:
                yield broker
            finally:
                await outages.bring_back()
