"""Handlers that do what no handler should. The process outlives them or is replaced, and no message is lost.

Where a handler can end the process it runs in one of its own.
"""

from __future__ import annotations

import asyncio
import json
import operator
import os
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.waiting import until
from tests.unit import stand_ins
from waybill import App, Delivery, Retry, Settings, Topic, handling


@dataclass
class Job:
    number: int
    act: str = ""
    names: list[str] = field(default_factory=list)


JOBS = Topic("jobs", Job, key=lambda job: str(job.number % 2), groups=["worker"])


# ---------------------------------------------------------------- what they raise


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


class Fatal(BaseException):
    """Not even an `Exception`, and looking at it would end the process."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class Talkative(Exception):
    def __str__(self) -> str:
        return "line\n" * 1_000_000


def recurse(number: int = 0) -> int:
    return recurse(number + 1) + 1


def deep() -> list[Any]:
    whole: list[Any] = []
    for _ in range(100_000):
        whole = [whole]
    return whole


def throw(error: BaseException) -> None:
    raise error


RAISED: dict[str, Callable[[], object]] = {
    "KeyboardInterrupt": lambda: throw(KeyboardInterrupt()),
    "SystemExit": lambda: sys.exit("usage: …"),
    "MemoryError": lambda: bytearray(1 << 60),
    "CancelledError": lambda: throw(asyncio.CancelledError()),
    "GeneratorExit": lambda: throw(GeneratorExit()),
    "StopIteration": lambda: next(iter(())),
    "StopAsyncIteration": lambda: throw(StopAsyncIteration()),
    "BaseExceptionGroup": lambda: throw(BaseExceptionGroup("many", [KeyboardInterrupt(), SystemExit()])),
    "ExceptionGroup": lambda: throw(ExceptionGroup("many", [ValueError()])),
    "Mute": lambda: throw(Mute()),
    "Fatal": lambda: throw(Fatal()),
    "Talkative": lambda: throw(Talkative()),
    "RecursionError": recurse,
    "RecursionError in json": lambda: json.loads("[" * 100_000),
    "RecursionError in pickle": lambda: pickle.dumps(deep()),
    "RuntimeError: the loop cannot be closed": lambda: asyncio.get_running_loop().close(),
    "RuntimeError: the loop cannot be run": lambda: asyncio.get_running_loop().run_forever(),
}


@pytest.mark.parametrize("kind", ["async", "plain", "ordered"])
@pytest.mark.parametrize("act", RAISED)
def test_whatever_a_handler_raises_is_a_failed_attempt(act: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """One handler at a time: if one kept its place, the next message would not be handled."""
    app, seen = App("worker"), list[int]()

    def plain(job: Job) -> None:
        seen.append(job.number)
        if job.act:
            RAISED[job.act]()

    async def work(job: Job) -> None:
        plain(job)

    handler: Any = plain if kind == "plain" else work
    app.consume(JOBS, retry=Retry.fixed(2, delay=60), concurrency=1, ordered=kind == "ordered")(handler)

    async def main() -> None:
        async with app.test() as bus:
            await bus.publish(JOBS, Job(1, act))
            await bus.publish(JOBS, Job(2))
            await bus.drain()
            (letter,) = bus.dead_letters(JOBS)
            assert (letter.reason, letter.record.attempts) == ("retries_exhausted", 2)
            name = (
                "RuntimeError"
                if act == "StopIteration" or (kind == "plain" and "loop" in act)
                else re.split("[ :]", act)[0]
            )
            assert (letter.record.error or "").endswith(f".{name}")
            assert app.consumer(JOBS).trouble is None

    asyncio.run(main())  # whose way with SIGINT is asyncio's own, unlike that of pytest
    assert seen == [1, 2, 1]
    for entry in caplog.records:
        assert entry.getMessage().isprintable()
        assert len(entry.getMessage()) < 1_000


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def awaits_what_was_cancelled() -> None:
    other = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(other.cancel)
    await other


async def fails_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        group.create_task(awaits_what_was_cancelled())
        raise ValueError


async def never_returns() -> None:
    await asyncio.get_running_loop().create_future()


async def fails_while_it_is_cancelled() -> None:
    try:
        await never_returns()
    finally:
        raise ConnectionError


async def returns_though_cancelled() -> None:
    with suppress(asyncio.CancelledError):
        await never_returns()


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (cancels_itself, "asyncio.exceptions.CancelledError"),
        (awaits_what_was_cancelled, "asyncio.exceptions.CancelledError"),
        (fails_in_a_group, "builtins.ExceptionGroup"),
        (never_returns, "waybill.errors.HandlerTimeout"),
        (fails_while_it_is_cancelled, "builtins.ConnectionError"),
        (returns_though_cancelled, None),
    ],
)
async def test_a_handler_that_is_cancelled_by_itself_or_for_its_time(
    act: Callable[[], Awaitable[None]], error: str | None
) -> None:
    app, seen = App("worker"), list[int]()

    @app.consume(JOBS, retry=Retry.fixed(2, delay=60), concurrency=1, timeout=0.1)
    async def work(job: Job) -> None:
        seen.append(job.number)
        if job.number == 1:
            await act()

    async with app.test() as bus:
        await bus.publish(JOBS, Job(1))
        await bus.publish(JOBS, Job(2))
        await bus.drain()
        assert [letter.record.error for letter in bus.dead_letters(JOBS)] == ([error] if error else [])
    assert seen == ([1, 2, 1] if error else [1, 2])


async def test_a_handler_that_ends_only_for_a_shutdown_is_given_back_whatever_it_raises_then(tmp_path: Path) -> None:
    app, started = worker(tmp_path), asyncio.Event()

    @app.consume(JOBS, retry=Retry.none())
    async def work(_: Job) -> None:
        started.set()
        await fails_while_it_is_cancelled()

    async with app.running():
        await app.publish(JOBS, Job(1))
        await started.wait()
    assert story(tmp_path) == {"waiting": 1, "attempts": 0, "dead": 0}


def test_a_program_that_ends_without_stopping_it_costs_no_attempt(tmp_path: Path) -> None:
    """`asyncio.run` cancels every task at once; to a handler that looks like one of its own."""
    app, started = worker(tmp_path), threading.Event()

    @app.consume(JOBS, retry=Retry.none())
    async def work(_: Job) -> None:
        started.set()
        await never_returns()

    async def consume() -> None:
        async with app.running():
            await app.publish(JOBS, Job(1))
            await never_returns()

    async def main() -> None:
        task = asyncio.create_task(consume())
        await stand_ins.until(started.is_set)
        assert not task.done()

    asyncio.run(main())
    assert story(tmp_path) == {"waiting": 1, "attempts": 0, "dead": 0}


# ---------------------------------------------------------------- what they change, leave and hold up


async def test_a_message_cannot_be_changed_and_its_value_is_everyones_own() -> None:
    app, seen = App("worker"), list[list[str]]()

    @app.consume(JOBS, retry=Retry.fixed(2, delay=60))
    async def work(job: Job, delivery: Delivery[Job]) -> None:
        for change in (
            lambda: operator.setitem(delivery.message.headers, "h", "other"),  # type: ignore[call-overload]
            lambda: operator.delitem(delivery.message.headers, "h"),  # type: ignore[arg-type]
            lambda: setattr(delivery.message, "id", "other"),
            lambda: setattr(delivery, "attempt", 7),
        ):
            with pytest.raises((TypeError, AttributeError)):
                change()
        seen.append(job.names)
        job.names.append("changed")
        raise ValueError

    @app.consume(JOBS, group="other")
    async def look(job: Job, delivery: Delivery[Job]) -> None:
        seen.append(job.names)
        assert delivery.message.headers == {"h": "v"}

    async with app.test() as bus:
        await bus.publish(JOBS, Job(1), headers={"h": "v"})
        await bus.drain()
        (letter,) = bus.dead_letters(JOBS)
    assert sorted(seen) == [[], ["changed"], ["changed"]], "each has a value of its own, and changes nothing but that"
    assert json.loads(letter.message.body or b"") == {"number": 1, "act": "", "names": []}
    assert letter.message.headers == {"h": "v"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_threads_and_tasks_that_a_handler_leaves_behind_hold_up_nothing() -> None:
    app, left, ended = App("worker"), set[asyncio.Task[None]](), threading.Event()

    async def fail_later() -> None:
        await asyncio.sleep(0.01)
        raise SystemError("nobody looks at it")

    @app.consume(JOBS, concurrency=1)
    async def work(_: Job) -> None:
        for _ in range(20):
            threading.Thread(target=sys.exit, args=(1,)).start()
            threading.Thread(target=ended.wait, daemon=True).start()
        left.add(asyncio.create_task(never_returns()))  # type: ignore[arg-type]
        left.add(asyncio.create_task(fail_later()))

    async with app.test() as bus:
        for number in range(5):
            await bus.publish(JOBS, Job(number))
        await bus.drain()
        assert bus.dead_letters(JOBS) == []
        assert app.consumer(JOBS).trouble is None
    ended.set()
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def test_a_handler_that_ignores_its_end_is_told_of_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handling, "HUNG", 0.1)
    app, seen, gate = App("worker"), list[int](), asyncio.Event()

    @app.consume(JOBS, concurrency=2, timeout=0.1)
    async def work(job: Job) -> None:
        while job.number == 1 and not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()
        seen.append(job.number)

    async with app.test() as bus:
        await bus.publish(JOBS, Job(1))
        await stand_ins.until(lambda: app.consumer(JOBS).hung == 1)
        await bus.publish(JOBS, Job(2))
        await stand_ins.until(lambda: seen == [2])
        gate.set()
        await bus.drain()
        await stand_ins.until(lambda: app.consumer(JOBS).hung == 0)
        assert bus.dead_letters(JOBS) == []
    assert seen == [2, 1]


async def test_a_loop_that_was_blocked_for_longer_than_the_lease_goes_on(tmp_path: Path) -> None:
    """Alone, nobody has taken its messages meanwhile; what was handled is not handled again for a late acknowledgement."""
    app, seen = worker(tmp_path, lease=0.5), list[int]()

    @app.consume(JOBS, concurrency=1)
    async def work(job: Job) -> None:
        seen.append(job.number)
        if job.number == 1:
            time.sleep(0.8)

    async with app.running():
        for number in (1, 2, 3):
            await app.publish(JOBS, Job(number))
        await stand_ins.until(lambda: story(tmp_path)["waiting"] == 0, within=30)
        assert app.consumer(JOBS).trouble is None
    assert sorted(seen) == [1, 2, 3]
    assert story(tmp_path)["dead"] == 0


# ---------------------------------------------------------------- processes of their own

SERVICE = """
import asyncio, os, resource, signal, sys, threading, time
from dataclasses import dataclass
from waybill import App, Retry, Topic, serving

serving.MARGIN = 3.0

@dataclass
class Job:
    number: int
    act: str = ""

jobs = Topic("jobs", Job, groups=["worker"])
app = App("worker")
kept = set()

def journal(what):
    with open("journal", "a") as file:
        print(what, file=file)

async def leave():
    sys.exit(0)

async def interrupt():
    raise KeyboardInterrupt

async def never():
    await asyncio.get_running_loop().create_future()

async def deaf():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def act(name):
    if name == "exit":
        os._exit(0)
    elif name == "stop":
        asyncio.get_running_loop().stop()
    elif name == "stop and wait":
        asyncio.get_running_loop().stop()
        await never()
    elif name == "exit in a task":
        await asyncio.create_task(leave())
    elif name == "exit in a group":
        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
            group.create_task(never())
    elif name == "interrupt in a task":
        await asyncio.create_task(interrupt())
    elif name == "block":
        time.sleep(60)
    elif name == "leak":
        kept.add(asyncio.create_task(never()))
    elif name == "leak deaf":
        kept.add(asyncio.create_task(deaf()))
    elif name == "deaf":
        await deaf()
    elif name == "thread":
        await asyncio.to_thread(time.sleep, 60)
    elif name == "hoard":
        heap = [None] * 3_000_000
        number = 0
        for size in (1 << 20, 1 << 12, *range(512, 0, -16)):  # until nothing is left, of whatever size
            try:
                while True:
                    heap[number] = bytes(size)
                    number += 1
            except MemoryError:
                pass
        raise MemoryError

@app.consume(jobs, retry=Retry.none(), concurrency=3)
async def work(job: Job) -> None:
    journal(f"start {job.number} {os.getpid()}")
    await asyncio.sleep(0.01)
    await act(job.act)
    journal(f"end {job.number} {os.getpid()}")

if __name__ == "__main__":
    if "hoard" in sys.argv:
        resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
    app.run()
"""
PROGRAM = "import sys; from waybill.cli import main; sys.exit(main())"


class Place:
    """A folder with the service, its bus and its journal; and the processes that run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "service.py").write_text(SERVICE)
        (folder / "journal").touch()
        root = str(Path(__file__).parents[2])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
        self.environment = {
            **kept, "WAYBILL_URL": "sqlite:///bus.db?sync=normal", "WAYBILL_SHUTDOWN_GRACE": "0.3", "WAYBILL_LEASE": "1",
            "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        self.processes: list[subprocess.Popen[bytes]] = []

    def publish(self, *jobs: Job) -> None:
        async def main() -> None:
            app = worker(self.folder)
            async with app.running(consume=False):
                await app.publish_many(JOBS, jobs)

        asyncio.run(main())

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "said").open("ab") as said:
            process = subprocess.Popen([sys.executable, *arguments], cwd=self.folder, env=self.environment, stderr=said)
        self.processes.append(process)
        return process

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def journal(self, what: str) -> list[int]:
        lines = [line.split() for line in (self.folder / "journal").read_text().splitlines()]
        return [int(number) for kind, number, _ in lines if kind == what]

    def dead(self) -> list[tuple[str, int]]:
        """The dead letters: reason and number."""
        with closing(sqlite3.connect(f"file:{self.folder / 'bus.db'}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT reason, body FROM dead").fetchall()
        return [(reason, json.loads(body)["number"]) for reason, body in found]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for process in place.processes:
        process.kill()
        process.wait()


def worker(folder: Path, lease: float = 30.0) -> App:
    return App(
        "worker", settings=Settings(url=f"sqlite:///{folder}/bus.db?sync=normal", shutdown_grace=0.2, lease=lease)
    )


def story(folder: Path) -> dict[str, int]:
    """What the file says of the messages: how many wait, their failed attempts, the dead letters."""
    with closing(sqlite3.connect(f"file:{folder / 'bus.db'}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM messages), (SELECT coalesce(sum(attempts), 0) FROM entries), (SELECT count(*) FROM dead)"
        ).fetchone()
    return dict(zip(("waiting", "attempts", "dead"), row, strict=True))


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("exit", 0), ("stop", 1), ("stop and wait", 1), ("exit in a task", 1), ("exit in a group", 1),
        ("interrupt in a task", 1),
    ],
)  # fmt: skip
def test_a_handler_that_ends_its_process_is_blamed_alone(place: Place, act: str, code: int) -> None:
    """It has one attempt, and the first death is held against nobody: the second is. The others are all handled."""
    others = [Job(number) for number in range(12)]
    place.publish(*others[:4], Job(13, act), *others[4:])
    for _ in range(2):
        assert place.start("service.py").wait(20) == code
    process = place.start("service.py")
    until(lambda: bool(place.dead()) and set(place.journal("end")) >= set(range(12)), 20, "the others to be handled")
    process.terminate()
    assert process.wait(20) == 0
    assert place.dead() == [("crashed", 13)]
    assert Counter(place.journal("start"))[13] == 2
    if code:
        assert "something has stopped the event loop" in place.said()


def test_a_handler_that_always_blocks_the_loop_ends_among_the_dead_letters(place: Place) -> None:
    """For longer than its lease and than the watchdog waits."""
    place.publish(Job(1), Job(13, "block"), Job(2), Job(3))
    supervisor = place.start("-c", PROGRAM, "run", "service:app", "--watchdog", "4")
    until(lambda: bool(place.dead()) and set(place.journal("end")) == {1, 2, 3}, 60, "the blocking one to be given up")
    supervisor.terminate()
    assert supervisor.wait(20) == 0
    assert place.dead() == [("crashed", 13)]
    assert Counter(place.journal("start"))[13] == 2
    assert place.said().count("gave no sign of life") == 2


@pytest.mark.parametrize(
    ("act", "code", "waiting"), [("leak", 0, 0), ("leak deaf", 1, 0), ("deaf", 1, 1), ("thread", 1, 1)]
)
def test_a_process_ends_when_told_to_whatever_a_handler_has_left_running(
    place: Place, act: str, code: int, waiting: int
) -> None:
    place.publish(Job(1, act), Job(2))
    process = place.start("service.py")
    until(
        lambda: 2 in place.journal("end") and 1 in place.journal("end" if not waiting else "start"), 20, "it to start"
    )
    until(lambda: story(place.folder)["waiting"] == waiting, 20, "the others to be acknowledged")
    process.terminate()
    assert process.wait(30) == code
    assert ("leaving" in place.said()) == bool(code)
    assert story(place.folder) == {"waiting": waiting, "attempts": 0, "dead": 0}


def test_a_handler_that_takes_all_memory_fails_and_the_process_lives(place: Place) -> None:
    place.publish(Job(1), Job(13, "hoard"), Job(2))
    process = place.start("service.py", "hoard")
    until(lambda: bool(place.dead()), 20, "it to run out of memory")
    place.publish(Job(3))
    until(lambda: set(place.journal("end")) == {1, 2, 3}, 20, "the others to be handled")
    process.terminate()
    assert process.wait(30) == 0
    assert place.dead() == [("retries_exhausted", 13)]
    assert len({line.split()[2] for line in (place.folder / "journal").read_text().splitlines()}) == 1


EMBEDDING = """
import asyncio
from service import App, Job, Retry, jobs, journal

app = App("worker")

@app.consume(jobs, retry=Retry.none())
async def busy(job: Job) -> None:
    journal(f"busy {job.number} 0")
    while True:
        sum(range(1000))

async def main():
    async with app.running():
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


def test_ctrl_c_ends_a_program_whose_handler_computes_and_costs_no_attempt(place: Place) -> None:
    """The first asks the program to end, which it cannot hear; the second is raised in the handler, and is not its fault."""
    (place.folder / "program.py").write_text(EMBEDDING)
    place.publish(Job(1))
    process = place.start("program.py")
    until(lambda: place.journal("busy") == [1], 20, "the handler to be busy")
    process.send_signal(signal.SIGINT)
    time.sleep(2)  # two signals at once would be one
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.wait(30)
    assert story(place.folder) == {"waiting": 1, "attempts": 0, "dead": 0}
