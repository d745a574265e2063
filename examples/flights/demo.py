"""A month of departures through a service of two processes, one of which is killed in the middle.

    python -m examples.flights.demo [--url URL] [--limit N]

Publishes the departures, keyed by aircraft; follows `service.py` through its journal; kills a worker with messages in its
hands; and compares what came of it with a plain loop over the same file. Exits with 0 if, and only if, all of it agrees.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from examples.flights import checks
from examples.flights.checks import Published
from examples.flights.contracts import Departure, delays, departures
from examples.flights.expected import Expected, expect, flights
from examples.flights.journal import Entry, JournalReader
from examples.flights.projection import read_aircraft, read_alerts
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from waybill import App, Confirmed, Message, Settings, WaybillError
from waybill.adapter import Admin
from waybill.clock import SystemClock
from waybill.loading import AdapterContext, open_adapter
from waybill.settings import safe_url
from waybill.topology import Subscription

SERVICE = "examples.flights.service:app"
WAYBILL = [sys.executable, "-m", "waybill.cli"]
WORKERS = 2
IN_HAND = 2 * 64
"""What one worker holds at most: the windows of the service's two handlers. No more than that can come again."""
CHUNK = 500
"""Departures published at a time."""
PATIENCE = 30.0
"""Seconds without any progress after which the rest counts as lost."""


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

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        if entry.what in {"handled", "rejected"}:
            (self.settled if entry.topic == departures.name else self.alerts).add(entry.id)

    @property
    def complete(self) -> bool:
        total = len(self.departures) - len(self.refused)
        handled = len(self.settled) >= total and len(self.alerts) >= len(self.expected.alerts)
        return handled and len(self.workers) > WORKERS


# ---------------------------------------------------------------- the run


class ServiceFailed(Exception):
    """The service did not run, or did not end as it should. Holds the end of its log."""


@contextmanager
def service(environment: dict[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """The service, in processes of its own, for as long as the block runs. Raises if it does not end in order."""
    command = [*WAYBILL, "run", SERVICE, "--workers", str(WORKERS)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
        process.terminate()
        if (code := process.wait(30)) != 0:
            raise ServiceFailed(f"the service ended with exit code {code}:\n{log.read_text()[-2000:]}")
    finally:
        if process.poll() is None:  # something went wrong before: end it and its workers, which are in its session
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


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


async def watch(run: Run, process: subprocess.Popen[bytes], journal: JournalReader, report: Report) -> None:
    """Follow the journal until all is handled, and kill a worker when half of it is."""
    last = time.monotonic()
    while not run.complete and time.monotonic() - last < PATIENCE and process.poll() is None:
        await asyncio.sleep(0.05)
        run.workers = journal.processes
        for entry in journal.new():
            run.add(entry)
            last = time.monotonic()
        if run.killed is None and len(run.settled) >= len(run.departures) // 2:
            run.killed = run.entries[-1].pid
            os.kill(run.killed, signal.SIGKILL)
            report.say(f"half of it is handled: worker {run.killed} was killed (SIGKILL)")
        report.progress(run)


async def flow(run: Run, url: str, process: subprocess.Popen[bytes], journal: JournalReader, report: Report) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(publish(run, url))
        group.create_task(watch(run, process, journal, report))


async def dead_letters(url: str) -> list[Message]:
    """What the broker has among the dead letters of `follow`."""
    settings = Settings(url=url)
    found: list[Message] = []
    async with open_adapter(
        url, AdapterContext(application="demo", clock=SystemClock(), options=settings.broker)
    ) as bus:
        admin: Admin = bus.admin
        page = await admin.browse(Subscription(topic=departures.spec, group="delays"))
        found.extend(page.messages)
        while page.after is not None:
            page = await admin.browse(Subscription(topic=departures.spec, group="delays"), after=page.after)
            found.extend(page.messages)
    return found


# ---------------------------------------------------------------- what is shown


class Report:
    """A progress bar where a person is looking, and a plain line every few seconds elsewhere."""

    def __init__(self, console: Console, run: Run) -> None:
        self._console = console
        self._next = 0.0
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description:>10}"), BarColumn(60), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=console)
            self._published: TaskID = self._bar.add_task("published", total=len(run.departures))
            self._handled: TaskID = self._bar.add_task("handled", total=len(run.departures))

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        self._console.print(text)

    def progress(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.update(self._published, completed=len(run.published))
            self._bar.update(self._handled, completed=len(run.settled))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + 3
            self.say(f"published {len(run.published):,}  handled {len(run.settled):,}  of {len(run.departures):,}")


class Verdict:
    """The table: a row a figure, and what is wrong with it, if anything."""

    def __init__(self) -> None:
        self.table = Table(title="A month of departures")
        self.table.add_column("figure")
        self.table.add_column("measured", justify="right")
        self.table.add_column("plain loop", justify="right")
        self.table.add_column("")
        self.faults: list[str] = []

    def same(self, name: str, measured: int, expected: int, examples: Sequence[object] = ()) -> None:
        """`measured` must be `expected`; `examples` name what is wrong."""
        self._check(name, f"{measured:,}", f"{expected:,}", measured == expected and not examples, examples)

    def at_most(self, name: str, measured: int, bound: int) -> None:
        self._check(name, f"{measured:,}", f"at most {bound:,}", measured <= bound, ())

    def show(self, name: str, measured: str) -> None:
        """Cannot be known beforehand."""
        self.table.add_row(name, measured, "", "")

    def _check(self, name: str, measured: str, expected: str, good: bool, examples: Sequence[object]) -> None:
        self.table.add_row(name, measured, expected, "[green]✓[/green]" if good else "[red]✗[/red]")
        if not good:
            named = "".join(f"\n    {example}" for example in examples[:5])
            more = f"\n    and {len(examples) - 5} more" if len(examples) > 5 else ""
            self.faults.append(f"{name}: {measured}, expected {expected}{named}{more}")


def judge(run: Run, letters: Sequence[Message], home: Path) -> Verdict:
    """Every figure, beside what the plain loop says."""
    expected, entries, verdict = run.expected, run.entries, Verdict()
    ours = {message.id for message in run.published}
    mine = [entry for entry in entries if entry.topic == departures.name]
    dead = Counter(message.dead.detail for message in letters if message.id in ours and message.dead is not None)
    handled = {entry.id for entry in mine if entry.what == "handled"}
    aircraft = read_aircraft(home / "projection.db")
    again = checks.redelivered(entries)
    twice = checks.applied_twice(run.published, mine, {tail: flights for tail, (flights, _) in aircraft.items()})
    alerts = read_alerts(home / "projection.db")
    missing = checks.lost(run.published, mine, {message.id for message in letters})
    disorder = checks.out_of_order(run.published, mine)

    verdict.same("published", len(run.published), expected.published, run.refused)
    verdict.same("handled", len(handled & ours), expected.handled)
    verdict.same("handled, but of an earlier run", len(handled - ours), 0)
    verdict.same("retried", len({entry.id for entry in mine if entry.what == "failed"}), expected.retried)
    for reason in sorted({"no tail number", *dead}):
        count = expected.rejected if reason == "no tail number" else 0
        verdict.same(f"dead-lettered: {reason}", dead[reason], count)
    verdict.at_most("redelivered", len(again), IN_HAND)
    verdict.same("redelivered by a living worker", sum(entry.pid != run.killed for entry in again), 0)
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
    verdict.same("workers, the killed one included", len(run.workers), WORKERS + 1)
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
  1. The same on another broker, with nothing changed:  python -m examples.flights.demo --url amqp://guest:guest@localhost/
  2. What lies before each group, while the demo runs on a file of yours:
         python -m examples.flights.demo --url sqlite:///flights.db
         WAYBILL_URL=sqlite:///flights.db waybill backlog --watch --app examples.flights.service:app
  3. Open examples/flights/service.py: two handlers, and no broker."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.flights.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", help="the bus; it must be empty (default: a fresh SQLite file)")
    parser.add_argument("--limit", type=int, help="only the first LIMIT departures (default: all 27,004)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminate)  # so that the service is ended with us
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="waybill-flights-") as folder:
        return demo(console, Path(folder), options.url, options.limit)


def _terminate(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def demo(console: Console, home: Path, given: str | None, limit: int | None) -> int:
    """Run it in the folder `home`; returns the exit code."""
    url = given or f"sqlite:///{home / 'bus.db'}"
    todo = flights(limit)
    run = Run(todo, expect(todo))
    console.print(
        f"{len(todo):,} departures, keyed by aircraft, through {safe_url(url)} to {WORKERS} workers", soft_wrap=True
    )
    environment = {**os.environ, "WAYBILL_URL": url, "FLIGHTS_HOME": str(home)}
    journal = JournalReader(home / "journal")
    log = home / "service.log"
    try:
        with service(environment, log) as process, Report(console, run) as report:
            asyncio.run(flow(run, url, process, journal, report))
    except* (WaybillError, ServiceFailed) as failed:
        console.print(*failed.exceptions, sep="\n", style="red", markup=False, soft_wrap=True)
        return 1
    for entry in journal.new():  # what came while the service was shutting down
        run.add(entry)
    verdict = judge(run, asyncio.run(dead_letters(url)), home)
    console.print(verdict.table)
    for fault in verdict.faults:
        console.print(f"[red]✗[/red] {fault}", soft_wrap=True)
    listed = subprocess.run(
        [*WAYBILL, "dlq", "list", "--app", SERVICE, "--limit", "5"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    console.print(
        "\n$ waybill dlq list --limit 5", listed.stdout or listed.stderr, sep="\n", markup=False, soft_wrap=True
    )
    console.print(NEXT, markup=False, soft_wrap=True)
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
