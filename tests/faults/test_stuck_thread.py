"""A plain handler that never returns: its worker is replaced, and the message handled by the next one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.waiting import until
from waybill import App, Settings, Topic

SERVICE = """
import os, time
from tests.faults.test_stuck_thread import Job, jobs
from waybill import App, Retry

app = App("worker")

@app.consume(jobs, timeout=0.2, retry=Retry.fixed(5, delay=0.01))
def work(job: Job) -> None:
    first = not os.path.exists("started")
    open("started", "a").write(f"{os.getpid()}\\n")
    if first:
        time.sleep(3600)
    open("ended", "a").write(f"{os.getpid()}\\n")
"""


@dataclass
class Job:
    number: int


jobs = Topic("jobs", Job, groups=["worker"])


@pytest.mark.timeout(120)
def test_a_worker_with_a_stuck_thread_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    url = f"sqlite:///{tmp_path}/bus.db"

    async def publish() -> None:
        app = App("publisher", settings=Settings(url=url))
        async with app.running(consume=False):
            await app.publish(jobs, Job(1))

    asyncio.run(publish())
    root = str(Path(__file__).parents[2])
    environment = {
        **os.environ,
        "WAYBILL_URL": url,
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
    }
    program = "import sys; from waybill.cli import main; sys.exit(main())"
    with (tmp_path / "said").open("wb") as said:
        worker = subprocess.Popen(
            [sys.executable, "-c", program, "run", "service:app", "--watchdog", "3"],
            cwd=tmp_path,
            env=environment,
            stderr=said,
        )
    try:
        until((tmp_path / "ended").exists, 60, "the replacement to handle the message")
    finally:
        worker.terminate()
        assert worker.wait(20) == 0
    stuck, replacement = (tmp_path / "started").read_text().split()
    assert stuck != replacement
    assert (tmp_path / "ended").read_text().split() == [replacement]
    assert "no sign of life" in (tmp_path / "said").read_text()
