"""The server as a process of its own, as a user starts it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 90.0
"""Seconds. A server with two workers takes a second or two to start, and twenty on a machine that does much else."""
LAUNCH = """
import sys, typer
from waybill.cli import report
from waybill.errors import WaybillError
from waybill_schema_registry.cli.serve import serve

program = typer.Typer(pretty_exceptions_enable=False)
program.command()(serve)
try:
    program()
except WaybillError as error:
    sys.exit(report(error))
"""
COMMAND = (sys.executable, "-c", LAUNCH)
"""As `waybill registry serve`; the entry point may not be installed where tests run from a checkout."""
READY = re.compile(r"schema registry at (https?://\S+),")


def until(true: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """What `true` returns, once that is true."""
    end = time.monotonic() + patience
    while not (found := true()):
        assert time.monotonic() < end, f"not after {patience:g} s: {what}"
        time.sleep(0.02)
    return found


@dataclass
class Server:
    """A running server. said: its lines on stderr."""

    process: subprocess.Popen[str]
    url: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.pid

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))
            if found := READY.search(line):
                self.url = found[1]

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = PATIENCE,
    ) -> tuple[int, Any]:
        """Status and JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def register(self, subject: str, schema: Any = "string") -> int:
        status, answer = self.ask("POST", f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})
        assert status == 200, answer
        return int(answer["id"])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def server(*arguments: str, environment: Mapping[str, str] | None = None, ready: bool = True) -> Iterator[Server]:
    """A server at a free port; it is killed at the end, if it runs then."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    started = Server(process)
    listening = threading.Thread(target=started.listen, daemon=True)
    listening.start()
    try:
        if ready:
            until(lambda: started.url or process.poll() is not None, "the server says where it listens")
            assert started.url, f"the server ended with {process.poll()}: {started.said}"
            until(lambda: answers(started), "the server answers")
        yield started
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        listening.join(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


def answers(started: Server) -> bool:
    if started.url.startswith("https"):
        return True
    try:
        return started.ask("GET", "/")[0] == 200
    except OSError:
        assert started.process.poll() is None, f"the server ended: {started.said}"
        return False
