"""A month of departures through a service of two processes, one of which is killed in the middle.

    python -m examples.flights.demo [--url URL] [--limit N] [--restarts N]

Publishes the departures, keyed by aircraft; follows `service.py` through its journal; kills a worker with messages in its
hands; and compares what came of it with a plain loop over the same file. Exits with 0 if, and only if, all of it agrees.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from examples.flights import checks
from examples.flights.bus import dead_letters, left, look_at
from examples.flights.checks import Published
from examples.flights.contracts import Departure, delays, departures
from examples.flights.expected import Expected, expect, flights
from examples.flights.journal import Entry, JournalReader
from examples.flights.projection import read_aircraft, read_alerts
from examples.flights.report import Report, Verdict
from waybill import App, Confirmed, Message, Settings, WaybillError
from waybill.adapter import Admin
from waybill.settings import safe_url

SERVICE = "examples.flights.service:app"
WAYBILL = str(Path(sys.executable).with_name("waybill"))
"""The program, beside the Python that runs this."""
WORKERS = 2
IN_HAND = 64
IN_HAND_OVER_THERE = 256
"""Acknowledgements that are on their way are lost with a process: with a broker in another one, all that it fetches ahead."""
"""What one worker has in its hands at most: the window of each handler in `service.py`. No more than that can come again."""
LEAST = 500
"""Departures that it takes for a worker to have something in its hands."""
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


async def publish(run: Run, url: str) -> None:
    app = App("airports", settings=Settings(url=url))
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


async def flow(run: Run, url: str, process: subprocess.Popen[bytes], journal: JournalReader, report: Report) -> None:
    """Publish and watch at the same time."""
    async with look_at(url) as bus:
        watching = asyncio.create_task(watch(run, process, bus, journal, report))
        try:
            await publish(run, url)
            await watching
        finally:
            watching.cancel()


async def inspect(run: Run, url: str) -> list[Message]:
    """After the service has ended: what is left on the bus, and the dead letters."""
    async with look_at(url) as bus:
        run.left = await left(bus)
        return await dead_letters(bus)


# ---------------------------------------------------------------- what came of it


def judge(run: Run, letters: Sequence[Message], home: Path) -> Verdict:
    """Every figure, beside what the plain loop says."""
    expected, entries, verdict = run.expected, run.entries, Verdict("A month of departures")
    ours = {message.id for message in run.published}
    mine = [entry for entry in entries if entry.topic == departures.name]
    found = {message.id: message.dead for message in letters if message.id in ours}
    dead = Counter(information.detail for information in found.values() if information is not None)
    handled = {entry.id for entry in mine if entry.what == "handled"}
    aircraft = read_aircraft(home / "projection.db")
    again = checks.redelivered(mine)
    echoes = checks.redelivered([entry for entry in entries if entry.topic == delays.name])
    twice = checks.applied_twice(run.published, mine, {tail: flights for tail, (flights, _) in aircraft.items()})
    alerts = read_alerts(home / "projection.db")
    missing = checks.lost(run.published, mine, {message.id for message in letters})
    disorder = checks.out_of_order(run.published, mine)

    verdict.same("published", len(run.published), expected.published, run.refused)
    verdict.same("handled", len(handled & ours), expected.handled)
    verdict.same("handled, but of an earlier run", len(handled - ours), 0)
    retried = len({entry.id for entry in mine if entry.what == "failed"})
    if run.restarts:  # handlers that publish while the broker is away fail as well
        verdict.at_most("retried", retried, expected.retried + run.given_back)
    else:
        verdict.same("retried", retried, expected.retried)
    for reason in sorted({"no tail number", *dead}):
        count = expected.rejected if reason == "no tail number" else 0
        verdict.same(f"dead-lettered: {reason}", dead[reason], count)
    twice_dead = sum(message.id in ours for message in letters) - len(found)
    verdict.at_most("dead-lettered a second time", twice_dead, run.letters_twice + run.given_back)
    verdict.at_most("redelivered", len(again), run.in_hand + run.given_back)
    verdict.at_most("redelivered by a living worker", sum(entry.pid != run.killed for entry in again), run.given_back)
    verdict.same("left on the bus", run.left, 0)
    verdict.same("lost", len(missing), 0, missing)
    verdict.same("out of order", len(disorder), 0, disorder)
    verdict.same("applied twice", sum(count for _, count in twice), 0, twice)
    verdict.same("aircraft followed", len(aircraft), len(expected.aircraft), _differences(aircraft, expected.aircraft))
    verdict.same(
        "minutes carried over",
        sum(minutes for _, minutes in aircraft.values()),
        sum(minutes for _, minutes in expected.aircraft.values()),
    )
    verdict.same(
        f"{delays.name} events, over an hour",
        len(alerts),
        len(expected.alerts),
        sorted(set(alerts) ^ set(expected.alerts)),
    )
    verdict.at_most(f"{delays.name} events that came again", len(echoes), len(again) + run.in_hand + run.given_back)
    workers = "workers, the killed one included"
    if run.restarts:  # who starts while the broker is away ends, and is replaced
        verdict.at_most(workers, len(run.workers), (WORKERS + 1) * (1 + run.restarts))
    else:
        verdict.same(workers, len(run.workers), WORKERS + 1)
    _timing(verdict, mine)
    return verdict


def _differences(measured: dict[str, tuple[int, int]], expected: dict[str, tuple[int, int]]) -> list[str]:
    return [
        f"{tail}: (flights, minutes) {measured.get(tail)}, expected {expected.get(tail)}"
        for tail in sorted(measured.keys() | expected.keys())
        if measured.get(tail) != expected.get(tail)
    ]


def _timing(verdict: Verdict, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    starts = {(entry.pid, entry.id, entry.attempt): entry.at for entry in entries if entry.what == "started"}
    handled = [entry for entry in entries if entry.what == "handled"]
    took = sorted((entry.at - starts[entry.pid, entry.id, entry.attempt]) / 1e6 for entry in handled)
    waited = sorted(entry.waited for entry in entries if entry.what == "started" and entry.attempt == 1)
    seconds = (max(entry.at for entry in entries) - min(entry.at for entry in entries)) / 1e9
    verdict.show("handled in", f"{seconds:.1f} s")
    verdict.show("throughput", f"{len(handled) / seconds:,.0f} /s")
    verdict.show("handler start to end, p50 · p99", f"{_share(took, 0.5):.2f} · {_share(took, 0.99):.2f} ms")
    verdict.show("published to handler start, p50 · p99", f"{_share(waited, 0.5):.1f} · {_share(waited, 0.99):.1f} s")


def _share(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


NEXT = """\
Three things to try next
  1. Keep the bus, and look at it as an operator would:
         make demo URL=sqlite:///flights.db
         .venv/bin/waybill backlog --app examples.flights.service:app --url sqlite:///flights.db
         .venv/bin/waybill explain --app examples.flights.service:app --url sqlite:///flights.db
  2. Take `ordered=True` out of examples/flights/service.py and run the demo again: it names what
     went wrong. (git checkout examples/flights/service.py puts it back.)
  3. Write a service of your own: README.md has one in ten lines."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.flights.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", help="the bus; it must be empty (default: a fresh SQLite file)")
    parser.add_argument("--limit", type=int, help="only the first LIMIT departures (default: all 27,004)")
    parser.add_argument("--restarts", type=int, default=0, help="how often somebody restarts the broker meanwhile")
    options = parser.parse_args()
    if options.limit is not None and options.limit < LEAST:
        parser.error(f"--limit: at least {LEAST}, so that there is a middle to kill a worker in")
    _on_signals()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="waybill-flights-") as folder:
        return demo(console, Path(folder), options.url, options.limit, options.restarts)


def _on_signals() -> None:
    """Leave by an exception, so that the service is ended with us."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)


def _terminate(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or a signal comes. The loop hears the signal between two steps: an exception that a signal
    raises by itself may land where Python drops it, in a callback of the collector for instance."""
    told: list[int] = []

    async def until_told() -> None:
        working = asyncio.ensure_future(work)

        def tell(number: int) -> None:
            told.append(number)
            working.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, tell, number)
        await working

    try:
        asyncio.run(until_told())
    except asyncio.CancelledError:
        if not told:
            raise
        sys.exit(128 + told[0])
    finally:
        _on_signals()


def demo(console: Console, home: Path, given: str | None, limit: int | None, restarts: int = 0) -> int:
    """Run it in the folder `home`; returns the exit code."""
    url = given or f"sqlite:///{home / 'bus.db'}"
    todo = flights(limit)
    run = Run(todo, expect(todo), restarts=restarts)
    if urlsplit(url).scheme not in {"sqlite", "memory"}:
        run.in_hand = run.letters_twice = IN_HAND_OVER_THERE
    console.print(
        f"{len(todo):,} departures, keyed by aircraft, through {safe_url(url)} to {WORKERS} workers", soft_wrap=True
    )
    environment = {**os.environ, "WAYBILL_URL": url, "FLIGHTS_HOME": str(home)}
    journal = JournalReader(home / "journal")
    log = home / "service.log"
    try:
        with service(environment, log) as process, Report(console, len(todo)) as report:
            _run(flow(run, url, process, journal, report))
            if not run.entries:
                raise ServiceFailed(f"nothing was handled:\n{log.read_text()[-2000:]}")  # noqa: TRY301
    except (WaybillError, ServiceFailed) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    for entry in journal.new():  # what came while the service was shutting down
        run.add(entry)
    verdict = judge(run, asyncio.run(inspect(run, url)), home)
    console.print(verdict.table)
    for fault in verdict.faults:
        console.print(f"[red]✗[/red] {fault}", soft_wrap=True)
    listed = subprocess.run(
        [WAYBILL, "dlq", "list", "--app", SERVICE, "--limit", "5"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    console.print(
        "\n$ waybill dlq list --limit 5", listed.stdout or listed.stderr, sep="\n", markup=False, soft_wrap=True
    )
    console.print(NEXT, markup=False, soft_wrap=True)
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
