"""A broker whose disk fills up for real: it takes nothing, and what it has confirmed is there when there is room again.

On RabbitMQ 4.3: a single 4.0.5 cannot always read a queue again whose log met the end of the disk (`missing_key`).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from tests.brokers.fetching import Cache, cache_folder
from tests.brokers.native import Native
from tests.brokers.rabbitmq import Node, RabbitMQ, node
from tests.brokers.recipe import Address, Launch
from tests.brokers.running import Broken
from tests.mounting import disk
from tests.rabbitmq.looking import until
from waybill import App, PublishRefused, PublishUnknown, Settings, Topic

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

BODY = "x" * 50_000
SMALL, LARGE = "240m", "1g"


class Small(RabbitMQ):
    """It raises its alarm at a third of the disk, and keeps small logs."""

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        settings = "disk_free_limit.absolute = 80MB\nraft.wal_max_size_bytes = 8000000\n"
        return node(installed, folder, at, Node(settings=settings))


@pytest_asyncio.fixture
async def broker(tmp_path: Path) -> AsyncGenerator[Native, None]:
    recipe = Small("4.3", "43")
    installed, version = await recipe.install(Cache(cache_folder(), print))
    with disk(tmp_path / "disk", SMALL) as folder:
        broker = Native(recipe, installed, version, folder, "full")
        try:
            await broker.create()
            yield broker
        finally:
            await broker.discard()


async def test_what_was_confirmed_before_the_disk_was_full_is_there_after(broker: Native) -> None:
    topic = Topic("orders", str, groups=["group"])
    app, confirmed, handled = App("group", settings=Settings(url=broker.url)), set[str](), set[str]()
    failed = 0

    @app.consume(topic, concurrency=10)
    async def handle(text: str) -> None:
        handled.add(text.partition(" ")[0])

    async def publish(number: int) -> None:
        nonlocal failed
        try:
            await app.publish(topic, f"{number} {BODY}", deadline=2)
        except (PublishRefused, PublishUnknown):
            failed += 1
        else:
            confirmed.add(str(number))

    async with app.running(consume=False):
        number = 0
        while failed < 20:
            assert number < 5000, "the disk is never full"
            await asyncio.gather(*(publish(n) for n in range(number, number + 20)))
            number += 20
        with suppress(OSError), (broker.folder / "of another program").open("wb") as file:
            while True:
                file.write(bytes(1_000_000))
        assert os.statvfs(broker.folder).f_bavail == 0
        await asyncio.gather(*(publish(n) for n in range(number, number + 20)))
        with suppress(Broken):  # it may have died of that
            await broker.kill()
        subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(broker.session)], check=True)
        await broker.start()
        before = len(confirmed)
        assert before > 100
        for again in range(20, 80):  # the queue may still be reading what it had written
            await publish(number + again)
            if len(confirmed) > before:
                break
    async with app.running():
        await until(lambda: confirmed <= handled, 60)
    assert len(confirmed) > before, "it takes nothing though there is room"
