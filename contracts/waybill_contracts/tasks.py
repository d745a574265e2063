"""The message that behaviours send: it says itself what its handler shall do, here or in another process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waybill import Delivery, Handled, Reject, RetryAfter
from waybill.outcomes import Lost

__all__ = ["Journal", "Step", "Task", "key_of", "nothing", "numbered", "numbers_of", "perform", "ready"]


@dataclass(frozen=True, slots=True)
class Task:
    """`do`: words with an optional number. `fail=2`: raise while the attempt is at most 2; `sleep=0.5`; `reject`;
    `after=7`: ask for a retry in 7 s at the first attempt; `exit`: end the process; `exit=2`: while the attempt is at
    most 2; `hang`: never return; `wait`: until `Bench.open_gate`; `block=3`: block the event loop for 3 s;
    `stall=3`: the same, for the first that handles it alone."""

    number: int
    key: str = "k"
    do: str = ""


def key_of(task: Task) -> str:
    """What orders it."""
    return task.key


def numbered(task: Task) -> str:
    """An id of its own."""
    return f"task-{task.number}"


def numbers_of(given: Sequence[Delivery[Task]]) -> list[int]:
    return [delivery.value.number for delivery in given]


async def nothing(_: Task) -> None:
    """A handler that does nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a journal. `what`: `started`, `done`, `failed` or `cancelled`; of a worker also `settled`,
    and `lost`: the broker did not take what became of it, `ready` and `published`; of `Load` also `try`, `ok`, `refused` or `unknown`. `at`: seconds, comparable on one machine."""

    what: str
    number: int
    key: str
    attempt: int
    process: int
    at: float
    group: str = ""
    topic: str = ""
    out_of_order: bool = False


def ready() -> Step:
    """That this process is at work."""
    return Step("ready", 0, "", 0, os.getpid(), time.monotonic())


class Journal:
    """What handlers have done, in order. `gate`: the file that tasks which `wait` wait for."""

    def __init__(self, gate: Path, write: Callable[[Step], None] | None = None) -> None:
        self.gate = gate
        self.steps: list[Step] = []
        self._write = self.steps.append if write is None else write

    def note(self, what: str, task: Task, delivery: Delivery[Any]) -> None:
        self._write(
            Step(
                what,
                task.number,
                task.key,
                delivery.attempt,
                os.getpid(),
                time.monotonic(),
                delivery.group,
                delivery.topic,
                delivery.out_of_order,
            )
        )

    def settled(self, handled: Handled) -> None:
        """What the broker answered, for `App.observe`."""
        what = "lost" if isinstance(handled.result, Lost) else "settled"
        self.note(what, handled.delivery.value, handled.delivery)

    def of(self, what: str, number: int | None = None) -> list[Step]:
        return [step for step in self.steps if step.what == what and number in {None, step.number}]

    def numbers(self, what: str = "done") -> list[int]:
        """The numbers of the tasks, in the order in which that happened to them."""
        return [step.number for step in self.of(what)]

    def attempts(self, number: int) -> list[int]:
        """The attempts that were started for a task."""
        return [step.attempt for step in self.of("started", number)]

    @property
    def running(self) -> int:
        """Handlers at work now."""
        return len(self.of("started")) - sum(len(self.of(what)) for what in ("done", "failed", "cancelled"))


async def perform(task: Task, delivery: Delivery[Any], journal: Journal) -> None:
    """Do what the task says, and note it."""
    journal.note("started", task, delivery)
    try:
        await _do(task, delivery.attempt, journal.gate)
    except asyncio.CancelledError:
        journal.note("cancelled", task, delivery)
        raise
    except Exception:
        journal.note("failed", task, delivery)
        raise
    journal.note("done", task, delivery)


async def _do(task: Task, attempt: int, gate: Path) -> None:
    for word in task.do.split():
        name, _, value = word.partition("=")
        number = float(value) if value else None
        if name == "sleep":
            await asyncio.sleep(number or 0)
        elif name == "block":
            time.sleep(number or 0)  # noqa: ASYNC251 - that is the point
        elif name == "stall" and _first(gate.with_name(f"stalled-{task.number}")):
            time.sleep(number or 0)  # noqa: ASYNC251 - as above
        elif name == "hang":
            await asyncio.Event().wait()
        elif name == "wait":
            while not gate.exists():
                await asyncio.sleep(0.02)
        elif name == "reject":
            raise Reject("as told")
        elif name == "after" and attempt == 1:
            raise RetryAfter(number or 0)
        elif name == "fail" and (number is None or attempt <= number):
            raise ValueError(f"as told, at attempt {attempt}")
        elif name == "exit" and (number is None or attempt <= number):
            os._exit(3)


def _first(mark: Path) -> bool:
    """Whether nobody has asked before, in whatever process."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
