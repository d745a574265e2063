"""A message that kills its process ends in the dead letters, and its neighbours are not blamed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.faults import kills_itself
from tests.faults.waiting import until
from waybill import App, Settings
from waybill.topology import Subscription


async def test_a_message_that_kills_the_process_is_dead_lettered_after_its_budget(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bus.db"
    journal = tmp_path / "journal"
    publisher = App("publisher", settings=Settings(url=url))
    async with publisher.running(consume=False):
        await publisher.publish_many(kills_itself.jobs, [kills_itself.Job(number) for number in range(40)])
        runtime = publisher._running()
        subscription = Subscription(topic=kills_itself.jobs.spec, group="worker")

        async def dead() -> int:
            return int((await runtime.brokers.admin.backlog(subscription)).dead.value or 0)

        deaths = 0
        while not await dead():
            worker = subprocess.Popen([sys.executable, kills_itself.__file__, url, str(journal)])
            try:
                while worker.poll() is None and not await dead():
                    await asyncio.sleep(0.01)
                deaths += worker.poll() is not None
            finally:
                if worker.poll() is None:
                    worker.terminate()
                worker.wait()
            assert deaths < 10
        worker = subprocess.Popen([sys.executable, kills_itself.__file__, url, str(journal)])
        try:
            until(lambda: len(set(journal.read_text().split())) == 40, 20, "the others to be handled")
        finally:
            worker.terminate()
            assert worker.wait(20) == 0
        letters = (await runtime.brokers.admin.browse(subscription)).messages
    assert [(letter.dead.reason, letter.body) for letter in letters if letter.dead] == [("crashed", b'{"number":13}')]
    handled = Counter(journal.read_text().split())
    assert handled["13"] == deaths == kills_itself.ATTEMPTS + 1
    assert max(count for number, count in handled.items() if number != "13") <= 2
