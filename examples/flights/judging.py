"""What came of it: every figure of a run, beside what the plain loop says."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from examples.flights import checks
from examples.flights.contracts import delays, departures
from examples.flights.journal import Entry
from examples.flights.projection import read_aircraft, read_alerts
from examples.flights.report import Verdict
from examples.flights.running import WORKERS, Run
from waybill import Message

__all__ = ["judge"]


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
