"""Operations on dead letters whose process is killed at a certain step: nothing of it is told to anybody."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from waybill.dlq.collecting import collect
from waybill.dlq.index import Index
from waybill.dlq.model import Letter, Query
from waybill.dlq.operation import Operation, Orders, State, Step
from waybill.dlq.operations import Operations
from waybill.dlq.running import decide
from waybill.dlq.telling import telling
from waybill.moving import Then
from waybill_contracts.tasks import Task

if TYPE_CHECKING:
    from waybill_contracts.bench import Bench

__all__ = ["STEPS", "Dying", "killed_redrive"]

LONG = 60.0
"""Seconds in which a process must have come to its end."""
CHUNK = 500
"""Letters that are sent together at most."""

STEPS = (
    "after claimed",
    "after running",
    "after sending",
    "before sent",
    "after sent",
    "before pending",
    "after pending",
    "before end",
)
"""Where one dies: before or after it is written down that letters, or the operation, have come so far. `before sent`: their
copies are confirmed. `before pending`: the letters are removed."""


class Dying(Operations):
    """Dies at one of `STEPS`, when it comes there for the `time`th time; where there is none, never."""

    def __init__(self, index: Index, step: str = "", *, time: int = 1) -> None:
        super().__init__(index)
        self._step = step
        self._left = time

    def _at(self, step: str) -> None:
        if step and step == self._step:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)

    def claim(self, operation: Operation, letters: Sequence[Letter], runner: str | None = None) -> int:
        number = super().claim(operation, letters, runner)
        self._at("after claimed")
        return number

    def stage(self, operation: Operation, ids: Sequence[str], runner: str) -> Mapping[str, Then]:
        then = super().stage(operation, ids, runner)
        self._at("after sending")
        return then

    def mark(
        self, operation: Operation, ids: Sequence[str], step: Step, *, cause: str = "", alike: bool = False
    ) -> Sequence[str]:
        if step != "sending":
            self._at(f"before {step}")
        moved = super().mark(operation, ids, step, cause=cause, alike=alike)
        if step != "sending":
            self._at(f"after {step}")
        return moved

    def advance(self, operation: Operation, state: State, note: str = "") -> Operation:
        if state == "pending":
            self._at("before end")
        operation = super().advance(operation, state, note)
        self._at(f"after {state}" if state == "running" else "")
        return operation


async def killed_redrive(bench: Bench, *, letters: int, steps: Sequence[str]) -> None:
    """One operation, killed at each of these steps and carried on with by the next process: none is lost, and what came twice
    is told of."""
    topic = bench.topic(groups=["group"])
    group, (app, journal) = bench.subscription(topic), bench.consumer(topic, concurrency=50)
    await bench.declare(app)
    await bench.bury(topic, [Task(n, str(n)) for n in range(letters)])
    with Index.open(bench.folder / "dlq.db") as index:
        operations = Operations(index)
        async with app.connected() as brokers:
            adapter = brokers.of(topic.spec)
            await bench.eventually(
                lambda: collect(adapter.admin, group, index),
                lambda seen: seen.complete and index.count(Query()) == letters,
                "all are dead letters",
            )
            operation = operations.begin("redrive", group, Query(), Orders(), by="an operator")
            for step in (*steps, ""):
                what = {"index": index.path, "operation": operation.id, "step": step}
                worker = await bench.worker(topic, operate=what, ready=False, lease=2.0)
                await bench.until(lambda: not worker.alive, f"it ends, killed {step}", within=LONG)  # noqa: B023
                code = worker.process.returncode
                assert code == (-signal.SIGKILL if step else 0), f"it ended {step} with {code}: {worker.errors}"
            assert operations.progress(operation).open == 0, "all are sent in the end"
            with telling(app, index.path):
                async with app.running():
                    await bench.until(lambda: set(journal.numbers()) == set(range(letters)), "every message is handled")
            progress = await bench.eventually(
                lambda: decide(adapter, group, operations, operation), lambda seen: not seen.pending, "all are decided"
            )
    assert (progress.resolved, progress.came_back, progress.gone, progress.left) == (letters, 0, 0, 0), f"{progress}"
    assert not await bench.dead(topic), "none is a dead letter any more"
    twice = len(journal.numbers()) - letters
    assert twice <= progress.repeated <= len(steps) * CHUNK, f"{twice} came twice, {progress.repeated} are told of"
