"""`waybill run`: workers that drain, die, hang and are stopped, under a supervisor that may itself be killed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.waiting import PATIENCE, until

SERVICE = """
import asyncio, os, time
from dataclasses import dataclass
from waybill import App, Topic

@dataclass
class Job:
    name: str
    act: str
    seconds: float = 0.0

jobs = Topic("jobs", Job)
app = App("worker")
fd = os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def journal(what, job):
    os.write(fd, f"{what} {job.name} {os.getpid()}\\n".encode())
    os.fsync(fd)

@app.consume(jobs, concurrency=4)
async def work(job: Job) -> None:
    again = f"start {job.name} " in open("journal").read()
    journal("start", job)
    if job.act == "block" and not again:
        time.sleep(job.seconds)
    elif job.act == "die" and not again:
        os.kill(os.getpid(), 9)
    else:
        await asyncio.sleep(job.seconds if not again else 0)
    journal("end", job)
"""
PROGRAM = "import sys; from waybill.cli import main; sys.exit(main())"


class Site:
    """A folder with a service, its bus and its journal; `waybill run` and what it has said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "service.py").write_text(SERVICE)
        (folder / "journal").touch()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
        self.environment = {
            **kept, "WAYBILL_URL": "sqlite:///bus.db", "WAYBILL_APP": "service:app", "WAYBILL_SHUTDOWN_GRACE": "4",
        }  # fmt: skip
        self.programs: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str, ready: int = 1) -> subprocess.Popen[bytes]:
        """`waybill run`, with `ready` workers started."""
        with (self.folder / "said").open("wb") as said:
            program = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "run", *arguments],
                cwd=self.folder, env=self.environment, stderr=said, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.programs.append(program)
        until(lambda: len(self.started()) >= ready, PATIENCE, "the workers to start")
        return program

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def started(self) -> list[int]:
        """The processes of the workers, in the order they have started."""
        return [int(pid) for pid in re.findall(r"worker \d+ \(pid (\d+)\) started\n", self.said())]

    def publish(self, *jobs: dict[str, object]) -> None:
        subprocess.run(
            [sys.executable, "-c", PROGRAM, "publish", "jobs", "--from", "-"],
            cwd=self.folder, env=self.environment, check=True, timeout=30, stdout=subprocess.DEVNULL,
            input="\n".join(map(json.dumps, jobs)).encode(),
        )  # fmt: skip

    def journal(self, what: str) -> list[str]:
        """The names of the jobs that were started or ended."""
        lines = [line.split() for line in (self.folder / "journal").read_text().splitlines()]
        return [name for kind, name, _ in lines if kind == what]

    def left(self) -> int:
        connection = sqlite3.connect(f"file:{self.folder / 'bus.db'}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT count(*) FROM messages").fetchone()[0]
        finally:
            connection.close()

    def close(self) -> None:
        for program in self.programs:
            program.kill()
            program.wait()
        for pid in re.findall(r"\(pid (\d+)\)", self.said()) if self.programs else ():
            if lives(int(pid)):
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def lives(pid: int) -> bool:
    """Whether the process runs or is stopped; a zombie is dead, its parent has not looked yet."""
    return state_of(pid)[:1] not in {"", "Z"}


def state_of(pid: int) -> str:
    """As `ps` writes it: T for stopped, Z for a zombie; empty where there is no such process."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def test_the_first_line_says_which_bus(site: Site) -> None:
    del site.environment["WAYBILL_URL"]
    program = site.run("--dev")
    first = site.said().splitlines()[0]
    assert first.endswith("no broker configured: using sqlite:///waybill.db in the working directory")
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert not lives(site.started()[0])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_sigterm_drains_busy_handlers(site: Site, workers: str) -> None:
    site.publish(*({"name": f"j{number}", "act": "sleep", "seconds": 0.6} for number in range(60)))
    program = site.run("--workers", workers, ready=int(workers))
    until(lambda: len(site.journal("start")) > 6, PATIENCE, "the handlers to be busy")
    program.terminate()
    assert program.wait(PATIENCE) == 0
    starts, ends = site.journal("start"), site.journal("end")
    assert sorted(starts) == sorted(ends)
    assert set(Counter(starts).values()) == {1}
    assert site.left() == 60 - len(ends)
    assert site.left() > 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_second_sigterm_is_fast_and_loses_nothing(site: Site, workers: str) -> None:
    site.environment["WAYBILL_SHUTDOWN_GRACE"] = "40"
    site.publish({"name": "long", "act": "sleep", "seconds": 60})
    program = site.run("--workers", workers, ready=int(workers))
    until(lambda: site.journal("start") == ["long"], PATIENCE, "the handler to start")
    program.terminate()
    until(lambda: "SIGTERM" in site.said(), PATIENCE, "the first signal to be noticed")
    time.sleep(0.2)  # two signals at once would be one
    assert program.poll() is None
    at = time.monotonic()
    program.terminate()
    assert program.wait(PATIENCE) == 128 + signal.SIGTERM
    assert time.monotonic() - at < 20
    assert not any(map(lives, site.started()))
    assert site.left() == 1


def test_a_second_signal_ends_a_process_whose_loop_is_blocked(site: Site) -> None:
    site.publish({"name": "stuck", "act": "block", "seconds": 60})
    program = site.run("--workers", "0", ready=0)
    until(lambda: site.journal("start") == ["stuck"], PATIENCE, "the handler to block")
    program.terminate()
    time.sleep(2)  # two signals at once would be one
    program.terminate()
    assert program.wait(PATIENCE) == 128 + signal.SIGTERM
    assert site.left() == 1


def test_a_signal_sent_to_every_process_is_one_signal(site: Site) -> None:
    """As service managers do it: the workers get it from them and, a moment later, from the supervisor."""
    site.publish({"name": "busy", "act": "sleep", "seconds": 1.5})
    program = site.run("--workers", "2", ready=2)
    until(lambda: site.journal("start") == ["busy"], PATIENCE, "the handler to start")
    for pid in site.started():
        os.kill(pid, signal.SIGTERM)
    time.sleep(0.3)  # the supervisor passes it on later than that only on a very busy machine
    program.terminate()
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert site.journal("end") == ["busy"]


def test_its_lines_have_the_time_and_name_the_bus_once_and_ctrl_c_as_what_it_is(site: Site) -> None:
    program = site.run("--workers", "2", ready=2)
    program.send_signal(signal.SIGINT)
    assert program.wait(PATIENCE) == 0
    lines = site.said().splitlines()
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\d [\d:]{8},\d{3} INFO \d+ waybill\.", line)] == []
    assert site.said().count("sqlite:///bus.db") == 1
    assert site.said().count("SIGINT: waiting for handlers to finish") == 1
    assert site.said().count("told to end: shutting down") == 2
    assert "SIGTERM" not in site.said()


def test_it_says_where_dev_changes_nothing(site: Site) -> None:
    program = site.run("--dev")
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert "worker: using sqlite:///bus.db, which WAYBILL_URL names: --dev changes nothing\n" in site.said()


def test_what_does_not_finish_in_time_is_given_back(site: Site) -> None:
    site.environment["WAYBILL_SHUTDOWN_GRACE"] = "0.5"
    site.publish({"name": "long", "act": "sleep", "seconds": 60})
    program = site.run()
    until(lambda: site.journal("start") == ["long"], PATIENCE, "the handler to start")
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert (site.journal("end"), site.left()) == ([], 1)


def test_a_killed_worker_is_restarted(site: Site) -> None:
    program = site.run("--workers", "2", ready=2)
    first, second = site.started()
    os.kill(first, signal.SIGKILL)
    until(lambda: len(site.started()) == 3, PATIENCE, "the worker to be replaced")
    assert "killed by SIGKILL; restarting in 0.5 s" in site.said()
    site.publish({"name": "after", "act": "sleep"})
    until(lambda: site.journal("end") == ["after"], PATIENCE, "the message to be handled")
    assert lives(second)
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert not any(map(lives, site.started()))


def test_a_handler_that_kills_its_worker_is_tried_again_elsewhere(site: Site) -> None:
    site.publish({"name": "poison", "act": "die"})
    site.run()
    until(lambda: site.journal("end") == ["poison"], PATIENCE, "the replacement to handle the message")
    until(lambda: len(site.started()) == 2, PATIENCE, "the supervisor to say that it was started")


def test_the_watchdog_ends_a_worker_whose_loop_is_blocked(site: Site) -> None:
    site.publish({"name": "stuck", "act": "block", "seconds": 60})
    site.run("--watchdog", "4")
    until(lambda: site.journal("end") == ["stuck"], PATIENCE, "the replacement to handle the message")
    first, second = site.started()
    told = re.search(rf"worker 1 \(pid {first}\) gave no sign of life for (\d\.\d) s", site.said())
    assert told is not None
    assert 4.0 <= float(told[1]) < 10.0
    assert not lives(first)
    assert lives(second)


def test_the_watchdog_ends_a_stopped_worker(site: Site) -> None:
    site.run("--watchdog", "4")
    (stopped,) = site.started()
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: len(site.started()) == 2, PATIENCE, "the worker to be replaced")
    assert f"(pid {stopped}) gave no sign of life" in site.said()
    assert not lives(stopped)


def test_without_a_watchdog_a_stopped_worker_is_left_alone(site: Site) -> None:
    program = site.run("--watchdog", "0")
    (stopped,) = site.started()
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(2)
    assert lives(stopped)
    os.kill(stopped, signal.SIGCONT)
    program.terminate()
    assert program.wait(PATIENCE) == 0


def test_a_stopped_supervisor_blames_nobody(site: Site) -> None:
    """Nor does one that was suspended together with its workers: what it did not see, it does not count."""
    program = site.run("--watchdog", "4", "--workers", "2", ready=2)
    before = site.started()
    processes = [program.pid, *before]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4.5)
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1.5)
    assert all(map(lives, before))
    assert "no sign of life" not in site.said()


def test_workers_outlive_a_killed_supervisor_only_to_drain(site: Site) -> None:
    site.publish({"name": "busy", "act": "sleep", "seconds": 1.5})
    program = site.run("--workers", "2", ready=2)
    workers = site.started()
    until(lambda: site.journal("start") == ["busy"], PATIENCE, "the handler to start")
    program.kill()
    program.wait()
    until(lambda: not any(map(lives, workers)), PATIENCE, "the workers to end")
    assert site.journal("end") == ["busy"]
    assert site.left() == 0


@pytest.mark.parametrize("state", ["blocked", "stopped", "importing"])
def test_no_worker_is_left_behind(site: Site, state: str) -> None:
    """Whatever it is doing when its supervisor is killed."""
    site.environment["WAYBILL_SHUTDOWN_GRACE"] = "0.2"
    if state == "importing":
        (site.folder / "service.py").write_text(
            "import os, time\nprint('pid', os.getpid(), flush=True, file=open('importing', 'w'))\ntime.sleep(60)"
        )
        importing = site.folder / "importing"
        program = site.run(ready=0)
        until(lambda: importing.exists() and importing.read_text().endswith("\n"), PATIENCE, "the import to begin")
        worker = int(importing.read_text().split()[1])
    else:
        program = site.run()
        (worker,) = site.started()
    if state == "blocked":
        site.publish({"name": "stuck", "act": "block", "seconds": 60})
        until(lambda: site.journal("start") == ["stuck"], PATIENCE, "the handler to block")
    if state == "stopped":
        os.kill(worker, signal.SIGSTOP)
        until(lambda: state_of(worker).startswith("T"), PATIENCE, "the worker to be stopped")
    program.kill()
    program.wait()
    until(lambda: not lives(worker), PATIENCE, "the worker to end")


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_configuration_error_ends_the_program_at_once(site: Site, workers: str) -> None:
    text = SERVICE.replace("concurrency=4", "concurrency=0")
    (site.folder / "service.py").write_text(text)
    program = site.run("--workers", workers, ready=0)
    assert program.wait(PATIENCE) == 2
    assert site.said() == "error: concurrency=0: at least 1 handler at a time\n"


def test_a_file_that_cannot_be_used_ends_the_program_at_once(site: Site) -> None:
    (site.folder / "bus.db").write_bytes(b"no database" * 100)
    program = site.run(ready=0)
    assert program.wait(PATIENCE) == 2
    assert "it is not an SQLite file" in site.said()
    assert "restarting" not in site.said()


def test_an_application_without_handlers_is_not_run(site: Site) -> None:
    (site.folder / "service.py").write_text("from waybill import App\napp = App('empty')\n")
    program = site.run(ready=0)
    assert program.wait(PATIENCE) == 2
    assert "has no handlers" in site.said()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_sigterm_while_it_connects(site: Site, workers: str) -> None:
    with (site.folder / "bus.db-turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # whoever wants to open the bus waits
        program = site.run("--workers", workers, ready=0)
        until(lambda: ": using " in site.said(), PATIENCE, "it to connect")
        time.sleep(0.3)  # a moment into the waiting
        program.terminate()
        assert program.wait(PATIENCE) == 0
    assert "Traceback" not in site.said()


def test_a_module_that_opens_things_at_import_is_imported_once_a_worker(site: Site) -> None:
    with (site.folder / "service.py").open("a") as service:
        service.write("\nwith open('imports', 'a') as f: print(os.getpid(), file=f)\n")
    program = site.run("--workers", "2", ready=2)
    imported = [int(pid) for pid in (site.folder / "imports").read_text().split()]
    assert sorted(imported) == sorted(site.started())
    program.send_signal(signal.SIGINT)
    assert program.wait(PATIENCE) == 0
