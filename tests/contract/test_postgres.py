"""The adapter of examples/adapter, as somebody who is not of this project writes one: every promise and every fault."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from examples.adapter.harness import Postgres
from tests.brokers.plugin import running
from tests.contract.installing import installed
from tests.contract.outages import Outages
from waybill_contracts import Broker, contract, survives

PROJECT = Path(__file__).parents[2] / "examples" / "adapter"
ALONE = pytest.mark.disturbs


class Ours(Postgres):
    """On the server of the tests, which may be ended as well. Its tests are marked `broker("postgres")`."""

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


POSTGRES = Ours()
test_on_postgres = pytest.mark.broker("postgres")(contract(POSTGRES, disturbing=ALONE))
test_faults_on_postgres = pytest.mark.broker("postgres")(survives(POSTGRES, disturbing=ALONE))
