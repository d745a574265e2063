"""What one process says of itself to operators, as data. Asking costs little and connects to nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from datetime import datetime

import msgspec

from waybill.app import App
from waybill.gates import CircuitBreaker
from waybill.health import Part, Status
from waybill.redaction import redact
from waybill.runtime import Stage

__all__ = ["Circuit", "Process", "State"]


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit breaker, as one process has it."""

    name: str
    state: str
    """`closed`, `open`, `half-open`, `forced-open` or `forced-closed`."""
    why: str | None = None
    """Why nothing passes; `None`: it does."""
    since: datetime | None = None
    """When it came to be so; `None`: it was never otherwise."""
    next_probe: float | None = None
    """Seconds until an open one lets a message through."""
    failure_rate: float = 0.0
    groups: Sequence[str] = ()
    """The subscriptions (`topic/group`) that wait for it when it is open."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One process at one moment. Times are seconds since 1970."""

    app: str
    version: str = ""
    """The service's, of its settings."""
    host: str
    pid: int
    worker: int = 0
    """Its number under a supervisor; 0: it has none."""
    stage: Stage
    status: Status
    live: bool
    """Whether it can go on: if not, only a new process helps."""
    ready: bool
    """Whether it consumes, and each subscription moves that is meant to."""
    reasons: Sequence[str] = ()
    """Why it is not `up`, or not ready."""
    parts: Sequence[Part] = ()
    circuits: Sequence[Circuit] = ()
    ops: str | None = None
    """The URL where it answers, if it does."""
    began: float
    written: float


class Process:
    """This process, which runs `app`. worker: its number under a supervisor. ops: set when it listens."""

    def __init__(self, app: App, *, worker: int = 0, version: str = "") -> None:
        self.app = app
        self.ops: str | None = None
        self._worker = worker
        self._version = version
        self._began = time.time()
        self._ran = False

    def state(self) -> State:
        """As it is now."""
        health, stage = self.app.health(), self._stage()
        running = stage == "running"
        reasons = [f"{part.name}: {reason}" for part in health.parts for reason in part.reasons]
        return State(
            app=self.app.name,
            version=self._version,
            host=socket.gethostname(),
            pid=os.getpid(),
            worker=self._worker,
            stage=stage,
            status=health.status,
            live=health.ok or not running,
            ready=running and health.ready,
            reasons=reasons if running else [f"it is {stage}", *reasons],
            parts=health.parts,
            circuits=self._circuits(),
            ops=self.ops,
            began=self._began,
            written=time.time(),
        )

    def _stage(self) -> Stage:
        runtime = self.app._runtime
        if runtime is None:
            return "stopping" if self._ran else "starting"
        self._ran = True
        return runtime.stage

    def _circuits(self) -> list[Circuit]:
        consumers = [] if self.app._runtime is None else self.app._runtime.consumers
        return [
            _circuit(breaker, [consumer.subscription.name for consumer in consumers if breaker in consumer.gates])
            for _, breaker in sorted(self.app.breakers.items())
        ]


def _circuit(breaker: CircuitBreaker, groups: Sequence[str]) -> Circuit:
    report = breaker.describe()
    return Circuit(
        name=report.name,
        state=report.state,
        why=None if report.reason is None else redact(report.reason),
        since=report.since,
        next_probe=report.next_probe,
        failure_rate=report.failure_rate,
        groups=groups,
    )
