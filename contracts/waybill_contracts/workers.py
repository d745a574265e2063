"""A process of its own that does what tasks say (`working`): to be killed, stopped for a while, or told to end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from waybill import CapabilityError
from waybill_contracts.tasks import Journal, Step

__all__ = ["Worker"]

READY = 60.0
"""Seconds until a worker must consume."""


class Worker:
    """One such process."""

    def __init__(
        self, folder: Path, url: str, topic: str, group: str, *, broker: dict[str, Any], options: dict[str, Any]
    ) -> None:
        folder.mkdir()
        self._journal = folder / "journal"
        self._errors = folder / "stderr"
        self._spec = json.dumps(
            {
                "url": url,
                "broker": {name: dict(table) for name, table in broker.items()},
                "topic": topic,
                "group": group,
                "journal": str(self._journal),
                **options,
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, *, ready: bool = True) -> None:
        """Returns when it consumes; `ready=False`: when it was started."""
        self._let_go()
        with self._errors.open("ab") as errors:
            command = [sys.executable, "-m", "waybill_contracts.working", self._spec]
            # It reads that pipe to its end, which comes with the end of this process, however that ends.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors)
        if not ready:
            return
        async with asyncio.timeout(READY):
            while True:
                ended = (
                    self._process.poll() is not None
                )  # before the journal is read: it may end just after it was ready
                if "ready" in {step.what for step in self.journal().steps if step.process == self.pid}:
                    return
                if ended:
                    raise _ended(self.errors)
                await asyncio.sleep(0.02)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def errors(self) -> str:
        """What it has printed to stderr."""
        return self._errors.read_text()

    def journal(self) -> Journal:
        """What its handlers have done so far; also those of the processes that ran before it was started again."""
        journal = Journal(self._journal)
        if self._journal.exists():
            lines = self._journal.read_bytes().splitlines(keepends=True)
            journal.steps = [msgspec.json.decode(line, type=Step) for line in lines if line.endswith(b"\n")]
        return journal

    def kill(self) -> None:
        """SIGKILL: it has no time to do anything."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def stop(self, *, within: float = 15.0) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            while self.alive:
                await asyncio.sleep(0.02)
        return self.process.returncode

    def close(self) -> None:
        if self._process is not None and self.alive:
            self.kill()
        self._let_go()

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def _ended(errors: str) -> Exception:
    """Why a process did not start: what it is refused here is refused there."""
    _, refused, why = errors.rpartition(f"{CapabilityError.__name__}: ")
    return CapabilityError(why) if refused else AssertionError(errors)
