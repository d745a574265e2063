"""The folder that processes share with their operators, and what a probe reads there."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from waybill import Status
from waybill.ops import probing
from waybill.ops.folder import FORGOTTEN, Folder, Order
from waybill.ops.state import State

NOW = 1_000_000.0
HEALTHY = State(
    app="billing",
    host="pod-1",
    pid=7,
    stage="running",
    status=Status.UP,
    live=True,
    ready=True,
    began=NOW - 60,
    written=NOW - 1,
    reasons=[],
    parts=[],
    circuits=[],
)


def state(**changed: object) -> State:
    return msgspec.structs.replace(HEALTHY, **changed)


AWAY = state(pid=8, ready=False, status=Status.DEGRADED, reasons=["orders/billing: the broker does not answer"])
HUNG = state(pid=9, live=False, ready=False, status=Status.DOWN)
SILENT = state(pid=10, written=NOW - 11)
AHEAD = state(pid=12, written=NOW + 3600)
STARTING = state(pid=11, stage="starting", ready=False, status=Status.DOWN, reasons=["it is starting"])


@pytest.mark.parametrize(
    ("states", "live", "ready"),
    [
        ([], False, False),
        ([HEALTHY], True, True),
        ([AWAY], True, False),
        ([HUNG], False, False),
        ([SILENT], False, False),
        ([STARTING], True, False),
        ([HEALTHY, HUNG], True, False),  # the supervisor replaces the one
        ([HEALTHY, SILENT], True, True),  # it has died, and the others do its work
        ([HEALTHY, STARTING], True, False),
        ([HUNG, SILENT], False, False),
        ([AHEAD], False, False),  # the clock was put back, and it has written nothing since
    ],
)
def test_what_a_probe_answers(states: list[State], *, live: bool, ready: bool) -> None:
    assert (probing.live(states, NOW).ok, probing.ready(states, NOW).ok) == (live, ready)


def test_a_probe_says_why() -> None:
    assert probing.ready([AWAY], NOW).why == "billing (pid 8): degraded (orders/billing: the broker does not answer)"
    assert probing.live([SILENT], NOW).why == "no process has written for 11 s"
    assert probing.live([AHEAD], NOW).why == "no process has written since the clock was put back"
    assert probing.live([], NOW).why == "no process has written there"
    assert probing.live([STARTING], NOW).why == "billing (pid 11): starting (it is starting)"


def test_what_is_written_is_read_until_it_is_removed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "not" / "there")
    assert folder.states() == []
    assert not (tmp_path / "not").exists(), "looking makes nothing"
    folder.write(HEALTHY)
    folder.write(AWAY)
    assert folder.states() == [HEALTHY, AWAY]
    folder.write(state(ready=False))
    assert folder.states() == [state(ready=False), AWAY]
    folder.remove(HEALTHY)
    folder.remove(HEALTHY)
    assert folder.states() == [AWAY]
    assert [file.name for file in folder.path.iterdir()] == ["pod-1-8.json"], "no half of a file is left"


@pytest.mark.parametrize(
    "something",
    [
        b'{"app": 5, "circuit": 5}',
        b'{"app": "bill',
        b"open it",
        b"",
        b'{"app": "\xff", "circuit": "\xff"}',
        b'{"x": ' + b"[" * 200_000,
        b"\x00" * 20,
    ],
)
def test_what_is_something_else_is_passed_over(tmp_path: Path, something: bytes) -> None:
    folder, order = Folder(tmp_path), Order(circuit="bank", to="open")
    folder.write(HEALTHY)
    folder.give(order)
    (tmp_path / "notes.json").write_bytes(something)
    (tmp_path / "circuits" / "notes.json").write_bytes(something)
    assert folder.states() == [HEALTHY]
    assert folder.orders() == {"bank": order}
    folder.tidy()


def test_a_newer_version_may_say_more(tmp_path: Path) -> None:
    said = msgspec.to_builtins(HEALTHY) | {"mood": "fine"}
    (tmp_path / "pod-1-7.json").write_bytes(msgspec.json.encode(said))
    assert Folder(tmp_path).states() == [HEALTHY]


def test_who_starts_removes_what_the_killed_have_left(tmp_path: Path) -> None:
    folder, now = Folder(tmp_path), time.time()
    folder.write(state(written=now - FORGOTTEN - 1))
    folder.write(state(pid=8, written=now - 5))
    folder.write(state(pid=9, written=now + FORGOTTEN + 60))
    folder.tidy()
    assert [found.pid for found in folder.states()] == [8]


def test_an_order_stands_whatever_the_circuit_is_called(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name in ("bank", "../bank", "a/b c", "ümlaut", "."):
        folder.give(Order(circuit=name, to="open", reason="why", by="ada", at=NOW))
    assert set(folder.orders()) == {"bank", "../bank", "a/b c", "ümlaut", "."}
    assert all(file.parent == tmp_path / "circuits" for file in tmp_path.rglob("*.json"))
    folder.give(Order(circuit="bank", to="auto", at=NOW + 1))
    assert folder.orders()["bank"].to == "auto"
