"""The schema registry over HTTP, as a process, beside a bare ASGI application on uvicorn that answers the same bytes.

16 connections are kept alive, with one request under way each; the generator (http_load.py) is a process of its own on the same
cores. Requests a second, and the 99th percentile in milliseconds. The store is a SQLite file.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import HOME, Row, Run, against, alone, interleave
from benchmarks.http_load import JSON_TYPE, Load, load

__all__ = ["measure"]

SECONDS = 3.0
NEW = 20_000
"""Schemas that are there to be registered anew, in each round."""
SERVE = (
    "import typer; from waybill_schema_registry.cli.serve import serve; "
    "program = typer.Typer(); program.command()(serve); program()"
)

ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": f"field{number}", "type": "string", "doc": "What it is for"} for number in range(12)],
}
BODY = json.dumps({"schema": json.dumps(ORDER)})

ASKED = {
    "register the same": ("POST", "/subjects/orders-value/versions", BODY),
    "look up": ("POST", "/subjects/orders-value", BODY),
    "latest": ("GET", "/subjects/orders-value/versions/latest", ""),
}
BY_ID = ("GET", "/schemas/ids/1", "")


def measure(run: Run) -> list[Row]:
    """Requests a second, and milliseconds."""
    seconds = max(0.5, SECONDS * run.scale)
    rows = []
    with registry(run.folder / "one", 1) as port, bare(answer(port), 1) as beside:
        contenders: dict[str, Callable[[], Load]] = {
            "bare": lambda: loaded(beside, [BY_ID], seconds),
            "by id": lambda: loaded(port, [BY_ID], seconds),
            **{name: (lambda ask=ask: loaded(port, [ask], seconds)) for name, ask in ASKED.items()},
        }
        found = interleave(contenders, run.rounds)
        rows.append(_against("by id", found["by id"], found["bare"], 0.75))
        rows.append(_latency("by id: p99", found["by id"], found["bare"]))
        rows += [_against(name, found[name], found["bare"], 0.3) for name in ASKED]
    with registry(run.folder / "two", 2) as port, bare(answer(port), 2) as beside:
        found = interleave(
            {"bare": lambda: loaded(beside, [BY_ID], seconds), "by id": lambda: loaded(port, [BY_ID], seconds)},
            run.rounds,
        )
        rows.append(_against("by id, two workers", found["by id"], found["bare"], 0.75))
        rows.append(_latency("by id, two workers: p99", found["by id"], found["bare"]))
    with registry(run.folder / "new", 1) as port:
        new = [loaded(port, unseen(number), seconds).per_second for number in range(run.rounds)]
    rows.append(alone("register new, SQLite", "requests/s wall", sorted(new)[len(new) // 2], at_least=1000))
    return rows


def unseen(turn: int) -> list[tuple[str, str, str]]:
    """Registrations of schemas that nobody has seen, each under a subject of its own."""
    return [
        (
            "POST",
            f"/subjects/new-{turn}-{number}/versions",
            json.dumps({"schema": json.dumps({**ORDER, "name": f"New{turn}x{number}"})}),
        )
        for number in range(NEW)
    ]


def loaded(port: int, requests: Sequence[tuple[str, str, str]], seconds: float) -> Load:
    found = load(port, requests, seconds=seconds)
    if found.failed:
        raise RuntimeError(f"{found.failed} requests failed")
    return found


def _against(name: str, ours: Sequence[Load], theirs: Sequence[Load], at_least: float) -> Row:
    unit = "requests/s wall"
    return against(
        f"registry: {name} vs bare ASGI", unit, [one.per_second for one in ours], [one.per_second for one in theirs],
        at_least=at_least,
    )  # fmt: skip


def _latency(name: str, ours: Sequence[Load], theirs: Sequence[Load]) -> Row:
    ordered, beside = sorted(one.p99 for one in ours), sorted(one.p99 for one in theirs)
    middle = len(ordered) // 2
    return alone(f"registry: {name}", "ms", ordered[middle], baseline=beside[middle], at_most=2.0)


@contextmanager
def registry(folder: Path, workers: int) -> Iterator[int]:
    """A server with one schema in it; its port."""
    folder.mkdir()
    command = [sys.executable, "-c", SERVE, "--port", "0", "--workers", str(workers)]
    store = f"sqlite:///{folder / 'registry.db'}"
    process = subprocess.Popen([*command, "--store", store], cwd=HOME.parent, stderr=subprocess.PIPE, text=True)
    try:
        port, started = 0, 0
        while not port or started < (workers if workers > 1 else 0):
            line = process.stderr.readline()
            if not line:
                raise RuntimeError("the server ended")
            if said := re.search(r"schema registry at http://[^:]+:(\d+)", line):
                port = int(said[1])
            started += " started" in line
        # the audit's lines go nowhere, but somebody must read them
        drained = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        ask(port, "POST", "/subjects/orders-value/versions", BODY)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        drained.wait(30)
        process.stderr.close()


def answer(port: int) -> bytes:
    return ask(port, *BY_ID)


def ask(port: int, method: str, path: str, body: str) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", body.encode() or None, {"Content-Type": JSON_TYPE}, method=method
    )
    with urllib.request.urlopen(request, timeout=30) as found:
        return found.read()


@contextmanager
def bare(body: bytes, processes: int) -> Iterator[int]:
    """The application that does nothing; its port."""
    command = [sys.executable, "-m", "benchmarks.registry_bare", str(processes)]
    process = subprocess.Popen(
        command, cwd=HOME.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        process.stdin.write(body)
        process.stdin.close()
        yield int(process.stdout.readline())
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
