"""Starting, killing and stopping the service under fire, and the checker that reads its journals."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SERVICE = Path(__file__).with_name("fired_on.py")


class Entry(NamedTuple):
    what: str
    number: int
    key: str
    attempt: int
    process: int
    at: int


@dataclass
class Range:
    """A folder with a bus and its journals, and the processes that use it."""

    folder: Path
    lease: float = 30.0
    pause: float = 0.02
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def bus(self) -> Path:
        return self.folder / "bus.db"

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """Start a worker or a publisher and wait until it is ready."""
        arguments = [role, f"sqlite:///{self.bus}", str(self.folder), str(self.lease), str(self.pause)]
        with (self.folder / "stderr").open("ab") as stderr:
            process = subprocess.Popen([sys.executable, str(SERVICE), *arguments], stderr=stderr)
        self.processes.append(process)
        until(
            lambda: any(e.what == "ready" and e.process == process.pid for e in self.journal()),
            30,
            "a process to be ready",
        )
        return process

    def journal(self) -> list[Entry]:
        """Every complete line of every journal, in order of time."""
        entries = []
        for file in sorted(self.folder.glob("handled-*")) + sorted(self.folder.glob("published-*")):
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    what, number, key, attempt, process, at = line.split()
                    entries.append(Entry(what, int(number), key, int(attempt), int(process), int(at)))
        return sorted(entries, key=lambda entry: entry.at)

    def held_by(self, process: subprocess.Popen[bytes]) -> int:
        """How many messages this worker holds now, by the file."""
        with self.query() as connection:
            return connection.execute(
                "SELECT count(*) FROM entries e JOIN members m ON m.id = e.owner WHERE m.doorbell LIKE ?",
                (f"{process.pid}-%",),
            ).fetchone()[0]

    def left(self) -> int:
        """How many messages wait or are held, by the file."""
        with self.query() as connection:
            return connection.execute("SELECT count(*) FROM messages").fetchone()[0]

    @contextmanager
    def query(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"file:{self.bus}?mode=ro", uri=True)
        try:
            yield connection
        finally:
            connection.close()

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def terminate(self, process: subprocess.Popen[bytes], timeout: float = 20.0) -> None:
        process.terminate()
        process.wait(timeout)


@contextmanager
def firing_range(folder: Path, *, lease: float = 30.0, pause: float = 0.02) -> Iterator[Range]:
    place = Range(folder, lease=lease, pause=pause)
    try:
        yield place
    finally:
        place.end()


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.01)


@dataclass
class Verdict:
    """What the journals say."""

    confirmed: int
    handled: int
    lost: set[int]
    phantoms: set[int]
    failed: int
    duplicates: int
    disordered: list[str]
    overtaken: list[str]
    overlapping: list[str]


def check(entries: list[Entry]) -> Verdict:
    """Nothing confirmed is lost, nothing refused appears, first handlings of a key rise and none starts before the one
    before it has succeeded, one handler a key at a time. A second handling after a failure is no duplicate."""
    outcome: dict[int, str] = {}
    starts: dict[int, list[Entry]] = defaultdict(list)
    last: dict[str, int] = {}
    disordered: list[str] = []
    overtaken: list[str] = []
    unfinished: dict[str, set[int]] = defaultdict(set)
    done: set[int] = set()
    failed = 0
    for entry in entries:
        if entry.what in {"try", "ok", "refused", "unknown"}:
            outcome[entry.number] = entry.what
        elif entry.what == "start":
            if not starts[entry.number] and entry.number < last.get(entry.key, -1):
                disordered.append(f"{entry.key}: {entry.number} first handled after {last[entry.key]}")
            if not starts[entry.number]:
                last[entry.key] = max(last.get(entry.key, -1), entry.number)
            starts[entry.number].append(entry)
            open_ = unfinished[entry.key]
            overtaken += [
                f"{entry.key}: {entry.number} started before {lower} succeeded"
                for lower in open_
                if lower < entry.number
            ]
            if entry.number not in done:
                open_.add(entry.number)
        elif entry.what == "end":
            done.add(entry.number)
            unfinished[entry.key].discard(entry.number)
        elif entry.what == "fail":
            failed += 1
    ended = {entry.number for entry in entries if entry.what == "end"}
    confirmed = {number for number, what in outcome.items() if what == "ok"}
    refused = {number for number, what in outcome.items() if what == "refused"}
    return Verdict(
        confirmed=len(confirmed),
        handled=len(ended),
        lost=confirmed - ended,
        phantoms=refused & starts.keys(),
        failed=failed,
        duplicates=sum(len(found) - 1 for found in starts.values()) - failed,
        disordered=disordered,
        overtaken=overtaken,
        overlapping=_overlaps(entries),
    )


def _overlaps(entries: list[Entry]) -> list[str]:
    """Handlers of one key that ran at the same time in two living processes."""
    running: dict[str, Entry] = {}
    found: list[str] = []
    for entry in entries:
        if entry.what == "start":
            other = running.get(entry.key)
            if other is not None and other.process == entry.process:
                found.append(f"{entry.key}: {other.number} and {entry.number} in {entry.process}")
            running[entry.key] = entry
        elif entry.what in {"end", "fail", "cancelled"} and running.get(entry.key, entry).number == entry.number:
            running.pop(entry.key, None)
    return found
