"""The demo itself, from an empty folder to the table. What it is given stands in the environment by now."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from examples.flights import operators
from examples.flights.expected import expect, flights
from examples.flights.journal import JournalReader
from examples.flights.judging import judge
from examples.flights.report import Report
from examples.flights.running import IN_HAND_OVER_THERE, WORKERS, Run, ServiceFailed, flow, inspect, service
from examples.flights.traces import drawn, read_spans, richest
from waybill import WaybillError
from waybill.settings import safe_url

__all__ = ["demo", "on_signals"]

NEXT = """\
Three things to try next
  1. Keep the bus, and look at it as an operator would:
         make demo URL=sqlite:///flights.db
         .venv/bin/waybill backlog --app examples.flights.service:app --url sqlite:///flights.db
         .venv/bin/waybill explain --app examples.flights.service:app --url sqlite:///flights.db
  2. Take `ordered=True` out of examples/flights/service.py and run the demo again: it names what
     went wrong. (git checkout examples/flights/service.py puts it back.)
  3. Write a service of your own: README.md has one in ten lines."""


def on_signals() -> None:
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
        on_signals()


def demo(home: Path, given: str | None, limit: int | None, restarts: int = 0) -> int:
    """Run it in the folder `home`; returns the exit code."""
    console = Console(highlight=False)
    url = given or f"sqlite:///{home / 'bus.db'}"
    todo = flights(limit)
    run = Run(todo, expect(todo), restarts=restarts)
    if urlsplit(url).scheme not in {"sqlite", "memory"}:
        run.in_hand = run.letters_twice = IN_HAND_OVER_THERE
    console.print(
        f"{len(todo):,} departures, keyed by aircraft, through {safe_url(url)} to {WORKERS} workers", soft_wrap=True
    )
    environment = {**os.environ, "WAYBILL_URL": url, "FLIGHTS_HOME": str(home), **operators.settings(home)}
    journal = JournalReader(home / "journal")
    log = home / "service.log"
    try:
        with service(environment, log) as process, Report(console, len(todo)) as report:
            _run(flow(run, url, process, journal, report, home=home))
            if not run.entries:
                raise ServiceFailed(f"nothing was handled:\n{log.read_text()[-2000:]}")  # noqa: TRY301
            seen = [operators.asked(environment, "circuit", "list"), operators.counted(home)]
    except (WaybillError, ServiceFailed) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    for entry in journal.new():  # what came while the service was shutting down
        run.add(entry)
    verdict = judge(run, asyncio.run(inspect(run, url)), home)
    console.print(verdict.table)
    for fault in verdict.faults:
        console.print(f"[red]✗[/red] {fault}", soft_wrap=True)
    console.print("\nthe way of one of them: its spans, in three programs")
    trace = richest(read_spans(home / "spans"))
    console.print(drawn(trace) if trace else "none was followed")
    seen += [operators.asked(environment, "dlq", *verb) for verb in (["collect"], ["groups"])]
    console.print("", *(text.rstrip() for text in seen), "", sep="\n\n", markup=False, soft_wrap=True)
    console.print(NEXT, markup=False, soft_wrap=True)
    return 1 if verdict.faults else 0
