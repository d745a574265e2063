"""Whoever is told to end while it starts does: the library's closing forgets that, and its calls raise something else."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest

from tests.brokers.running import Running
from waybill import App, Settings, Topic

TIMES = 150


@pytest.mark.timeout(300)
@pytest.mark.broker("rabbitmq43")
async def test_an_application_that_is_told_to_end_while_it_starts_ends(rabbitmq43: Running) -> None:
    tasks = Topic(f"w{uuid.uuid4().hex[:10]}.tasks", str, key=lambda body: body, groups=["group"])

    def service() -> App:
        app = App("group", settings=Settings(url=rabbitmq43.url, shutdown_grace=1.0))

        @app.consume(tasks, ordered=True)
        async def handle(_: str) -> None: ...

        return app

    async def run(app: App) -> None:
        async with app.running():
            await asyncio.Event().wait()

    async with service().running():  # so that all is declared
        pass
    chance = random.Random(7)
    for _ in range(TIMES):
        running = asyncio.create_task(run(service()))
        moment = chance.uniform(0, 0.08)
        await asyncio.sleep(moment)
        running.cancel()
        ended, _ = await asyncio.wait({running}, timeout=30)
        assert ended, f"cancelled after {moment * 1000:.1f} ms, it goes on"
        assert running.cancelled()
