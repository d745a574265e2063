"""The run: publishes the departures, follows the service through its journal, and kills a worker with messages in its hands."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from examples.flights import checks
from examples.flights.bus import dead_letters, left, look_at
from examples.flights.checks import Published
from examples.flights.contracts import Departure, departures
from examples.flights.expected import Expected
from examples.flights.journal import Entry, JournalReader
from examples.flights.report import Report
from examples.flights.telemetry import instruments
from waybill import App, Confirmed, Message, Settings
from waybill.adapter import Admin

__all__ = ["IN_HAND_OVER_THERE", "SERVICE", "WAYBILL", "WORKERS", "Run", "ServiceFailed", "flow", "inspect", "service"]

SERVICE = "examples.flights.service:app"
WAYBILL = str(Path(sys.executable).with_name("waybill"))
"""The program, beside the Python that runs this."""
WORKERS = 2
IN_HAND = 64
IN_HAND_OVER_THERE = 256
"""Acknowledgements that are on their way are lost with a process: with a broker in another one, all that it fetches ahead."""
"""What one worker has in its hands at most: the window of each handler in `service.py`. No more than that can come again."""
TRIES = 100
"""How often to look for a worker in the middle of a message before one is killed anyhow."""
CHUNK = 500
"""Departures published at a time."""
PATIENCE = 45.0
"""Seconds without any progress after which the rest counts as lost, beyond the lease of what a killed worker held."""


@dataclass
class Run:
    """What the demo knows of the run so far."""

    departures: list[Departure]
    expected: Expected
    published: list[Published] = field(default_factory=list[Published])
    refused: list[str] = field(default_factory=list[str])
    entries: list[Entry] = field(default_factory=list[Entry])
    settled: set[str] = field(default_factory=set[str])
    """Departures that were handled or rejected, by message id."""
    alerts: set[str] = field(default_factory=set[str])
    """Alerts that were handled, by message id."""
    killed: int | None = None
    """The pid of the worker that was killed."""
    workers: set[int] = field(default_factory=set[int])
    """The pids of all that there were."""
    in_hand: int = IN_HAND
    """What one worker may have begun, or even handled, without the broker knowing it."""
    letters_twice: int = 0
    """How many dead letters may be there a second time: none where the letter and the acknowledgement are one transaction."""
    restarts: int = 0
    """How often the broker was restarted meanwhile."""
    left: int = 0
    """What still lay on the bus at the end."""

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        if entry.what in {"handled", "rejected"}:
            (self.settled if entry.topic == departures.name else self.alerts).add(entry.id)

    @property
    def given_back(self) -> int:
        """What may come again because the broker was restarted: all that the living workers had in their hands."""
        return self.restarts * WORKERS * self.in_hand

    @property
    def complete(self) -> bool:
        """Whether everything was handled, and the killed worker has its successor."""
        total = len(self.departures) - len(self.refused)
        handled = len(self.settled) >= total and len(self.alerts) >= len(self.expected.alerts)
        return handled and len(self.workers) > WORKERS


# ---------------------------------------------------------------- the run


class ServiceFailed(Exception):
    """The service did not run, or did not end as it should. Holds the end of its log."""


@contextmanager
def service(environment: dict[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """The service, in processes of its own, for as long as the block runs. Raises if it does not end in order."""
    command = [WAYBILL, "run", SERVICE, "--workers", str(WORKERS)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()  # its workers end when their supervisor is gone
            code = process.wait()
    if code != 0:
        raise ServiceFailed(f"the service ended with exit code {code}:\n{log.read_text()[-2000:]}")


async def publish(run: Run, url: str, home: Path) -> None:
    app = App("airports", settings=Settings(url=url), instruments=instruments("airports", home / "spans"))
    async with app.running(consume=False):
        for start in range(0, len(run.departures), CHUNK):
            chunk = run.departures[start : start + CHUNK]
            for departure, result in zip(chunk, await app.publish_many(departures, chunk), strict=True):
                if isinstance(result, Confirmed):
                    run.published.append(Published(result.id, departure.tail, departure.flight))
                else:
                    run.refused.append(f"{departure.flight}: {result}")


async def watch(run: Run, process: subprocess.Popen[bytes], bus: Admin, journal: JournalReader, report: Report) -> None:
    """Follow the journal until all is handled and nothing is left on the bus; kill a worker when half of it is."""
    last, patience = time.monotonic(), Settings().lease + PATIENCE
    while process.poll() is None and time.monotonic() - last < patience:
        await asyncio.sleep(0.05)
        run.workers = journal.processes
        for entry in journal.new():
            run.add(entry)
            last = time.monotonic()
        report.progress(len(run.published), len(run.settled))
        if run.killed is None and run.entries and len(run.settled) >= len(run.departures) // 2:
            begun = await kill(run, journal)
            report.say(f"half is handled: worker {run.killed} was killed (SIGKILL), {begun} of its handlers running")
        if run.complete and await left(bus) == 0:
            return


async def kill(run: Run, journal: JournalReader) -> int:
    """Kill the worker that wrote last, in the middle of a message. Returns how many of its handlers were running."""
    worker = run.entries[-1].pid
    begun = 0
    for _ in range(TRIES):
        os.kill(worker, signal.SIGSTOP)  # hold it still and look what it is doing
        for entry in journal.new():
            run.add(entry)
        if begun := checks.running(run.entries, worker):
            break
        os.kill(worker, signal.SIGCONT)
        await asyncio.sleep(0.001)
    os.kill(worker, signal.SIGKILL)
    run.killed = worker
    return begun


async def flow(
    run: Run, url: str, process: subprocess.Popen[bytes], journal: JournalReader, report: Report, *, home: Path
) -> None:
    """Publish and watch at the same time."""
    async with look_at(url) as bus:
        watching = asyncio.create_task(watch(run, process, bus, journal, report))
        try:
            await publish(run, url, home)
            await watching
        finally:
            watching.cancel()


async def inspect(run: Run, url: str) -> list[Message]:
    """After the service has ended: what is left on the bus, and the dead letters."""
    async with look_at(url) as bus:
        run.left = await left(bus)
        return await dead_letters(bus)
