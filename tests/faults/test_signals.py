"""SIGTERM finishes what runs; a stopped worker is relieved by the others and cannot settle what it lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.firing import Range, check, firing_range, until

STOPPED_FOR = float(os.environ.get("FAULT_STOP", "8"))
"""Seconds."""


def test_sigterm_with_busy_handlers_repeats_nothing(tmp_path: Path) -> None:
    with firing_range(tmp_path, pause=0.2) as place:
        publisher = place.start("publish")
        workers = [place.start("consume"), place.start("consume")]
        for round_ in range(3):
            workers = [*workers[1:], place.start("consume")]
            leaver = workers[0]
            until(lambda: place.held_by(leaver) > 2, 20, "the worker to be busy")  # noqa: B023 - called at once
            place.terminate(leaver)
            workers = [place.start("consume"), *workers[1:]]
            del round_
        place.terminate(publisher)
        until(lambda: place.left() == 0, 60, "everything to be handled")
        for process in [p for p in place.processes if p.poll() is None]:
            place.terminate(process)
        verdict = check(place.journal())
        cancelled = [entry for entry in place.journal() if entry.what == "cancelled"]
    assert not verdict.lost
    assert not verdict.disordered
    assert not verdict.overtaken
    assert not cancelled
    assert verdict.duplicates == 0


@pytest.mark.timeout(120 + STOPPED_FOR)
def test_a_stopped_worker_is_relieved_and_what_it_did_late_is_noticed(tmp_path: Path) -> None:
    """With a lease of 2 s, or that of production in a long run (FAULT_STOP=60). A worker that holds the file's turn when it is stopped is resumed and stopped again: SQLite
    has no way to take a lock from a living process (docs/adr/0005)."""
    with firing_range(tmp_path, lease=30.0 if STOPPED_FOR >= 60 else 2.0, pause=0.1) as place:
        publisher = place.start("publish")
        stopped, other = place.start("consume"), place.start("consume")
        until(lambda: place.held_by(stopped) > 2, 20, "the worker to be busy")
        stopped.send_signal(signal.SIGSTOP)
        while not _moves(place):
            stopped.send_signal(signal.SIGCONT)
            time.sleep(0.05)
            stopped.send_signal(signal.SIGSTOP)
        held = place.held_by(stopped)
        at = time.monotonic_ns()
        until(lambda: place.held_by(stopped) == 0, STOPPED_FOR, "its leases to be taken over")
        while time.monotonic_ns() - at < STOPPED_FOR * 1e9:  # the length of the stop is the experiment
            time.sleep(0.1)
        stopped.send_signal(signal.SIGCONT)
        until(
            lambda: any(
                e.process == stopped.pid and e.at > at + STOPPED_FOR * 1e9 and e.what == "start"
                for e in place.journal()
            ),
            20,
            "the worker to work again",
        )
        place.terminate(publisher)
        until(lambda: place.left() == 0, 60, "everything to be handled")
        place.terminate(stopped)
        place.terminate(other)
        verdict = check(place.journal())
        told = (tmp_path / "stderr").read_text()
    assert not verdict.lost
    assert not verdict.disordered
    assert not verdict.overtaken
    assert verdict.duplicates <= held
    assert "lease" in told  # the worker said what it lost


def _moves(place: Range) -> bool:
    """Whether something that is published from now on is confirmed within half a second: that takes the file's turn, while
    handlers of what a worker holds already go on without it."""
    before = time.monotonic_ns()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        if any(e.what == "ok" and e.number > before for e in place.journal()):
            return True
        time.sleep(0.02)
    return False
