"""SIGKILL at random moments: nothing confirmed is lost, order holds, duplicates are bounded by what was in flight."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.firing import Range, check, firing_range, until

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "5"))
SEED = int(os.environ.get("FAULT_SEED", "0")) or random.randrange(1, 1 << 30)


def settle_down(place: Range) -> None:
    """Stop publishing, let the workers finish, stop them."""
    publisher, *workers = [process for process in place.processes if process.poll() is None]
    place.terminate(publisher)
    until(lambda: place.left() == 0, 60, "everything to be handled")
    for worker in workers:
        place.terminate(worker)


@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_a_killed_worker_loses_nothing_and_keeps_order(tmp_path: Path) -> None:
    print(f"seed {SEED}, {ROUNDS} rounds")
    chance = random.Random(SEED)
    in_flight = 0
    with firing_range(tmp_path) as place:
        place.start("publish")
        workers = [place.start("consume"), place.start("consume")]
        done = 0
        while done < ROUNDS:
            time.sleep(chance.uniform(0.1, 0.8))  # the moment of the kill is the experiment
            victim = chance.randrange(2)
            workers[victim].send_signal(signal.SIGSTOP)  # so that what is counted is what dies
            held = place.held_by(workers[victim])
            workers[victim].kill()
            workers[victim].wait()
            if held:  # the kill of an idle worker proves nothing
                done += 1
                in_flight += held
                print(f"round {done}: killed {workers[victim].pid} with {held} in flight")
            workers[victim] = place.start("consume")
        settle_down(place)
        verdict = check(place.journal())
    print(verdict)
    assert verdict.confirmed > 20 * ROUNDS
    assert not verdict.lost
    assert not verdict.phantoms
    assert not verdict.disordered
    assert not verdict.overtaken
    assert not verdict.overlapping
    assert verdict.duplicates <= in_flight


@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_a_killed_publisher_loses_nothing_it_was_told_is_stored(tmp_path: Path) -> None:
    print(f"seed {SEED}, {ROUNDS} rounds")
    chance = random.Random(SEED)
    with firing_range(tmp_path) as place:
        publisher = place.start("publish")
        place.start("consume")
        place.start("consume")
        done = 0
        while done < ROUNDS:
            time.sleep(chance.uniform(0.1, 0.4))  # the moment of the kill is the experiment
            publisher.kill()
            publisher.wait()
            tried = [entry for entry in place.journal() if entry.process == publisher.pid]
            undecided = len({e.number for e in tried if e.what == "try"} - {e.number for e in tried if e.what == "ok"})
            if undecided:  # the kill of a publisher that was not publishing proves nothing
                done += 1
                print(f"round {done}: killed {publisher.pid} with {undecided} publishes undecided")
            publisher = place.start("publish")
        place.terminate(publisher)
        until(lambda: place.left() == 0, 60, "everything to be handled")
        for process in place.processes[1:3]:
            place.terminate(process)
        verdict = check(place.journal())
    print(verdict)
    assert verdict.confirmed > 20 * ROUNDS
    assert not verdict.lost
    assert not verdict.phantoms
    assert not verdict.disordered
    assert not verdict.overtaken
    assert verdict.duplicates == 0  # no worker was harmed
