"""Brokers come and go with those who use them, however these end. moto stands for all: it starts fastest."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers.processes import recorded
from tests.brokers.running import Broken, Running
from tests.brokers.session import ROOT, Session, sessions
from tests.faults.waiting import PATIENCE, until

USER = """
import sys
from tests.brokers.session import Session
session = Session(sys.argv[1], print)
print(session.start(["sns"])["sns"].url, flush=True)
sys.stdin.read()
session.close()
"""


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a session that no other test uses, with a native moto."""
    monkeypatch.setenv("TEST_BROKERS", "native")
    monkeypatch.delenv("TEST_SNS", raising=False)
    return secrets.token_hex(8)


@pytest.fixture
def users() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that use a session; ended with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for user in started:
        with user:
            user.kill()


def use(users: list[subprocess.Popen[str]], name: str) -> str:
    """Start a process that uses the session, and return the URL it got."""
    command = [sys.executable, "-c", USER, name]
    users.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    output = users[-1].stdout
    assert output is not None
    return next(line.strip() for line in output if line.startswith("http"))


def listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


def running(broker: object) -> Running:
    assert isinstance(broker, Running), broker
    return broker


def test_those_who_give_the_same_name_share_a_broker_until_the_last_one_goes(
    own: str, users: list[subprocess.Popen[str]]
) -> None:
    session = Session(own, print)
    url = running(session.start(["sns"])["sns"]).url
    assert use(users, own) == url
    session.close()
    assert listens(url)
    users[0].communicate("", timeout=20)
    assert not listens(url)
    assert not (sessions() / own).exists()


def test_a_killed_user_leaves_nothing_behind(own: str, users: list[subprocess.Popen[str]]) -> None:
    url = use(users, own)
    processes = [pid for pid, _ in recorded(sessions() / own)]
    assert len(processes) == 2
    users[0].kill()
    until(lambda: not (sessions() / own).exists(), PATIENCE, "the keeper to clean up")
    assert not listens(url)


def test_a_killed_keeper_takes_its_brokers_along_and_its_folder_goes_at_the_next_start(
    own: str, users: list[subprocess.Popen[str]]
) -> None:
    url = use(users, own)
    keeper = next(iter(recorded(sessions() / own)))[0]
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not listens(url), PATIENCE, "the broker to go")
    Session(f"{own}-next", print).close()
    assert not (sessions() / own).exists()


def test_a_killed_broker_comes_back_where_it_was(own: str) -> None:
    session = Session(own, print)
    broker = running(session.start(["sns"])["sns"])
    assert broker.provider == "native"
    broker.kill()
    assert not listens(broker.url)
    with pytest.raises(Broken, match="does not run"):
        broker.pause()
    broker.start()
    assert listens(broker.url)
    broker.start()  # one that runs is left alone
    assert listens(broker.url)
    session.close()


def test_a_broker_that_a_url_names_is_used_and_never_touched(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Session(own, print)
    url = running(theirs.start(["sns"])["sns"]).url
    monkeypatch.setenv("TEST_SNS", url)
    ours = Session(f"{own}-url", print)
    broker = running(ours.start(["sns"])["sns"])
    assert (broker.url, broker.provider) == (url, "url")
    with pytest.raises(Broken, match="TEST_SNS names is not ours"):
        broker.restart()
    ours.close()
    assert listens(url)
    theirs.close()


SMOKE = "tests/brokers/test_smoke.py"


def run_one(name: str = "test_sns_to_sqs", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the test of one broker in a pytest of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", f"{SMOKE}::{name}"],
        cwd=ROOT, env=environment | variables, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_a_broker_that_cannot_be_had_is_skipped_with_the_reason_and_fails_in_ci(
    tmp_path: Path, ci: str, outcome: str
) -> None:
    done = run_one(TEST_BROKERS="docker", DOCKER_HOST=f"unix://{tmp_path}/nothing", CI=ci)
    assert outcome in done.stdout, done.stdout + done.stderr
    assert "No Docker engine answers" in done.stdout
    assert done.returncode == bool(ci)


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 failed")])
def test_a_test_that_would_end_the_broker_of_a_url_is_left_out_and_fails_in_ci(own: str, ci: str, outcome: str) -> None:
    session = Session(own, print)
    url = running(session.start(["sns"])["sns"]).url
    done = run_one("test_sqs[restart]", TEST_SQS=url, CI=ci)
    session.close()
    assert outcome in done.stdout, done.stdout + done.stderr
    assert "broker that TEST_SQS names: unset it" in done.stdout
    assert done.returncode == bool(ci)


def test_a_run_that_is_meant_for_containers_takes_nothing_else(own: str) -> None:
    session = Session(own, print)
    url = running(session.start(["sns"])["sns"]).url
    done = run_one(TEST_BROKERS="docker", TEST_SNS=url)
    session.close()
    assert "sns is no container" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
