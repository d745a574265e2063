"""A worker whose handler of one message kills the process: python kills_itself.py BUS JOURNAL"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from waybill import App, Retry, Settings, Topic


@dataclass
class Job:
    number: int


jobs = Topic("jobs", Job, groups=["worker"])
app = App("worker", settings=Settings(url=sys.argv[1] if len(sys.argv) > 1 else "memory://"))
ATTEMPTS = 3


@app.consume(jobs, concurrency=5, retry=Retry.fixed(ATTEMPTS, delay=0.01))
async def work(job: Job) -> None:
    with Path(sys.argv[2]).open("a") as journal:
        journal.write(f"{job.number}\n")
        journal.flush()
        os.fsync(journal.fileno())
    await asyncio.sleep(0.005)
    if job.number == 13:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    app.run()
