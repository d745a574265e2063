"""The proxy as a test sees it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.brokers.processes import tied
from tests.brokers.strict.faults import Faults

MANY = 1000
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Calls:
    """What came since the last `forget`, refused calls and retries of the client as well."""

    calls: Counter[tuple[str, str]]
    """How often, by action and name of the queue or topic."""
    entries: Counter[tuple[str, str]]
    """The same, with each entry of a batch counted."""
    injected: Counter[str]
    """How often since `inject`: `failed` (entries), `errors`, `throttled`, `slow`, `cut`."""

    def of(self, *actions: str, target: str = "") -> int:
        """Calls of these actions, or of all, to what has this in its name."""
        return sum(
            times
            for (action, name), times in self.calls.items()
            if target in name and (not actions or action in actions)
        )


@dataclass(frozen=True)
class Strict:
    """A proxy that runs. Every verb blocks, for a millisecond or two."""

    url: str
    to: str
    """The emulator behind it, which a test may ask past the proxy."""

    def inject(self, faults: Faults) -> None:
        """From now on; `Faults()` ends all of them."""
        self._ask("faults", asdict(faults))

    def calls(self) -> Calls:
        told = self._ask("calls")
        return Calls(
            Counter({(action, target): times for action, target, times, _ in told["calls"]}),
            Counter({(action, target): entries for action, target, _, entries in told["calls"]}),
            Counter(told["injected"]),
        )

    def forget(self) -> None:
        """Count from zero."""
        self._ask("forget")

    @contextlib.contextmanager
    def without_receives(self) -> Generator[None, None, None]:
        """While the emulator is ended: no receive is under way then, whose messages it would keep from everybody."""
        self._ask("hold")
        try:
            yield
        finally:
            self._ask("release")

    def _ask(self, what: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/.strict/{what}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
            return told


@contextlib.contextmanager
def start(to: str, calls: int = MANY) -> Generator[Strict, None, None]:
    """A proxy in front of the emulator at this URL, as a process that ends with this one. calls: that it makes at once."""
    command = tied(sys.executable, "-m", "tests.brokers.strict", to, str(calls))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Strict(f"http://127.0.0.1:{int(process.stdout.readline())}", to)
        finally:
            process.kill()
