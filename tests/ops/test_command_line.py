"""`waybill circuit`, `waybill probe` and the circuits in `waybill backlog`, beside a service of two processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.waiting import PATIENCE, until
from waybill import BrokerUnavailable, ConfigurationError, Status
from waybill.cli.program import program
from waybill.ops.folder import Folder
from waybill.ops.state import Circuit, State

SERVICE = """
from waybill import App, CircuitBreaker, Settings, Topic

orders, letters = Topic("orders", str), Topic("letters", str)
bank = CircuitBreaker("bank")
app = App("billing")

@app.consume(orders, breaker=bank)
async def charge(order: str) -> None:
    if order == "die":
        import os
        os.kill(os.getpid(), 9)

@app.consume(letters)
async def send(letter: str) -> None: ...
"""
PROGRAM = "import sys; from waybill.cli import main; sys.exit(main())"


class Site:
    """A folder with a service, and what its operator types there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "service.py").write_text(SERVICE)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
        self.environment = {
            **kept,
            "WAYBILL_URL": "sqlite:///bus.db",
            "WAYBILL_APP": "service:app",
            "WAYBILL_STATUS_DIR": "status",
            "WAYBILL_OPS": "127.0.0.1:0",
        }
        self.program: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "said").open("wb") as said:
            self.program = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "run", "--workers", "2"],
                cwd=self.folder, env=self.environment, stderr=said, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        until(lambda: self.said().count(" started\n") == 2, PATIENCE, "the workers to start")

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def done(self, *arguments: str) -> str:
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def files(self) -> list[dict[str, Any]]:
        """What the processes have written."""
        found: list[dict[str, Any]] = []
        for file in (self.folder / "status").glob("*.json"):
            with suppress(FileNotFoundError):
                found.append(json.loads(file.read_text()))
        return found

    def states(self) -> set[str]:
        (circuit,) = json.loads(self.done("circuit", "list", "--json"))
        assert len(circuit["processes"]) == 2
        return {process["state"] for process in circuit["processes"]}

    def stop(self) -> None:
        if self.program is not None:
            self.program.terminate()
            assert self.program.wait(60) == 0
            self.program = None


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    try:
        yield site
    finally:
        if site.program is not None:
            site.program.kill()
            site.program.wait()
            for pid in re.findall(r"\(pid (\d+)\) started", site.said()):
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue


def test_an_operator_opens_a_circuit_of_all_processes_and_lets_it_go(site: Site) -> None:
    site.start()
    assert site.states() == {"closed"}
    told = site.done("circuit", "open", "bank", "--reason", "their maintenance")
    assert told.count("bank is forced-open") == 2
    assert "their maintenance" in site.done("circuit", "list")
    until(lambda: site.said().count("is degraded: orders/billing: ") == 2, PATIENCE, "the supervisor to say so")
    assert site.done("probe", "--ready").count("degraded") == 2, "an order does not hold up a roll-out"

    site.done("publish", "orders", "--data", '"waits"')
    orders, letters = json.loads(site.done("backlog", "--json"))
    assert orders["ready"] + orders["in_flight"] == 1
    assert (orders["circuits"], letters["circuits"]) == ({"bank": "forced-open"}, {})
    head, first, second = (line.split("\t") for line in site.done("backlog").splitlines())
    assert (head[-1], first[-1], second[-1]) == ("circuit", "bank forced-open", "-")

    site.done("circuit", "close", "bank")
    until(lambda: site.said().count(" is up\n") == 2, PATIENCE, "the supervisor to say that it is over")
    assert "bank forced-closed" in site.done("backlog")
    (orders, _) = json.loads(site.done("backlog", "--json"))
    assert orders["ready"] + orders["in_flight"] == 0
    site.stop()
    ended = site.run("probe", "--live")
    assert (ended.returncode, ended.stderr) == (1, "no process has written there\n")


def test_one_process_is_asked_over_http(site: Site) -> None:
    site.start()
    until(lambda: len(site.files()) == 2 and all(file["ops"] for file in site.files()), PATIENCE, "both to answer")
    url = next(str(file["ops"]) for file in site.files() if file["worker"] == 1)
    assert "bank is forced-open" in site.done("circuit", "open", "bank", "--ops", url)
    (circuit,) = json.loads(site.done("circuit", "list", "--ops", url, "--json"))
    assert [(process["worker"], process["state"]) for process in circuit["processes"]] == [(1, "forced-open")]
    until(
        lambda: {circuit["state"] for file in site.files() for circuit in file["circuits"]} == {"forced-open"},
        PATIENCE,
        "its sibling to follow",
    )
    ended = site.run("circuit", "open", "post", "--ops", url)
    assert (ended.returncode, "Known: bank" in ended.stderr) == (2, True)
    killed = next(int(str(file["pid"])) for file in site.files() if file["worker"] == 2)
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in {file["pid"] for file in site.files()}, PATIENCE, "its supervisor to say so for it")
    site.stop()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["probe", "--status-dir", "there"], "--live or --ready"),
        (["probe", "--live", "--ready"], "--live or --ready"),
        (["probe", "--live"], "WAYBILL_STATUS_DIR"),
        (["circuit", "list"], "--ops http"),
        (["circuit", "list", "--status-dir", "nowhere"], "there is no folder nowhere"),
        (["circuit", "open", "bank", "--ops", "here:9100"], "give the URL"),
    ],
)
def test_what_cannot_be_asked_names_the_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=says):
        program(arguments, standalone_mode=False)


def test_a_probe_imports_no_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAYBILL_APP", "service:app")
    (tmp_path / "service.py").write_text("raise SystemExit('it was imported')")
    with pytest.raises(ConfigurationError, match="WAYBILL_STATUS_DIR"):
        program(["probe", "--live"], standalone_mode=False)


def test_a_process_that_does_not_answer_is_no_wrong_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(BrokerUnavailable, match="does not answer"):
        program(["circuit", "list", "--ops", f"http://127.0.0.1:{port}"], standalone_mode=False)


def test_an_order_may_come_before_the_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(["circuit", "open", "bank", "--reason", "later", "--status-dir", str(tmp_path)], standalone_mode=False)
    assert "is ordered open for those that start" in capsys.readouterr().out
    assert Folder(tmp_path).orders()["bank"].reason == "later"


def test_a_user_without_a_name_may_order_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def getuser() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr("getpass.getuser", getuser)
    program(["circuit", "open", "bank", "--status-dir", str(tmp_path)], standalone_mode=False)
    assert Folder(tmp_path).orders()["bank"].by == f"user {os.getuid()}"


def test_why_a_circuit_is_open_is_seen_on_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "3 probes failed (ConnectionError); it is probed in 10.9 s"
    circuit = Circuit(
        name="bank", state="open", why=f"the circuit 'bank' is open: {why}", groups=["orders.placed/billing"]
    )
    now = time.time()
    Folder(tmp_path).write(
        State(
            app="billing", host="here", pid=os.getpid(), stage="running", status=Status.DEGRADED, live=True, ready=True,
            circuits=[circuit], began=now, written=now,
        )
    )  # fmt: skip
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    program(["circuit", "list", "--status-dir", str(tmp_path)], standalone_mode=False)
    assert any(line.strip() == why for line in capsys.readouterr().out.splitlines())


def test_the_program_is_a_module_too() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "waybill", "circuit", "lst"], capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 2
    assert "Usage: waybill circuit" in told.stderr
