"""Workers of the contracts are processes, and go with the one that started them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import asyncio, os, sys
from pathlib import Path
from waybill_contracts.workers import Worker

async def main(folder):
    given = {"broker": {}, "options": {"gate": str(folder / "gate")}}
    worker = Worker(folder / "worker", f"sqlite:///{folder}/bus.db", "topic", "group", **given)
    await worker.start()
    print(worker.pid, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_worker_ends_when_who_started_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    parent = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    worker = Path(f"/proc/{int(parent.stdout)}")
    end = time.monotonic() + 10
    while worker.exists():
        assert time.monotonic() < end, "it is still there after 10 s"
        await asyncio.sleep(0.05)
