"""`waybill` called in this process: quick, so that a test can do a whole evening's work with it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from waybill import App, DeadLetterRecord, Message
from waybill.cli import main
from waybill.cli.program import program
from waybill.topology import Destination

SERVICE = """
from dataclasses import dataclass
from pathlib import Path
from waybill import App, Reject, Retry, Topic

@dataclass
class OrderPlaced:
    order_id: str
    amount: int

orders = Topic("orders.placed", OrderPlaced, key=lambda order: order.order_id)
refunds = Topic("refunds", OrderPlaced)
app = App("billing")

@app.consume(orders, retry=Retry.none())
async def charge(order: OrderPlaced) -> None:
    if Path("broken").exists():
        raise ConnectionError("the bank at bank.example does not answer")

@app.consume(refunds)
async def refund(order: OrderPlaced) -> None: ...
"""


@dataclass(frozen=True)
class Told:
    """What one call has said. Its code is checked by whoever calls."""

    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Console:
    """A directory with an application, and somebody who calls `waybill` there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capsys = capsys
        self._argv = lambda words: monkeypatch.setattr(sys, "argv", ["waybill", *words])

    def __call__(self, *words: str, code: int = 0) -> Told:
        self._capsys.readouterr()
        self._argv(words)
        try:
            ended = main()
        except SystemExit as left:
            ended = left.code if isinstance(left.code, int) else 0
        if "service" in sys.modules:
            self.app.settings = None  # which the next process would read anew
        told = Told(*self._capsys.readouterr())
        assert ended == code, (words, told)
        return told

    @property
    def app(self) -> App:
        return sys.modules["service"].app

    @property
    def broken(self) -> Path:
        """While there is such a file, nothing can be handled."""
        return self.folder / "broken"

    def bury(self, *ids: str, reason: str = "retries_exhausted", age: float = 60, **more: Any) -> None:
        """Dead letters of `orders.placed/billing`."""
        at = datetime.now(UTC) - timedelta(seconds=age)
        given: dict[str, Any] = {"body": b'{"order_id": "A-1", "amount": 5}', **more}
        type_ = given.pop("type", "orders.placed")
        detail = given.pop("detail", "the bank does not answer")
        disposition = given.pop("disposition", "")
        record = DeadLetterRecord(
            reason=reason, topic="orders.placed", group="billing", attempts=5, at=at, error="builtins.ConnectionError",
            detail=detail, frame="service:charge", disposition=disposition,
        )  # fmt: skip
        letters = [
            Message(
                id=id_, type=type_, source="shop", time=at, key=id_, content_type="application/json",
                dead=record, **given,
            )
            for id_ in ids
        ]  # fmt: skip

        async def send() -> None:
            async with self.app.connected() as bus:
                await bus.admin.apply(await bus.admin.plan(self.app.topology))
                group = self.app.topology.subscriptions[0]
                async with bus.of(group.topic).sink(Destination("dead", group.topic, group.group)) as sink:
                    await sink.send(letters, deadline=time.monotonic() + 30)

        self("backlog")  # which imports the application
        asyncio.run(send())

    def work(self, count: int) -> None:
        """Let the application handle so many, well or not."""
        handled: list[object] = []
        self.app.observe(handled.append)

        async def run() -> None:
            async with self.app.running(), asyncio.timeout(20):
                while len(handled) < count:
                    await asyncio.sleep(0.02)

        asyncio.run(run())

    def ready(self) -> int:
        return sum(row["ready"] for row in self("backlog", "--json").rows)

    def dead(self) -> list[str]:
        return [row["id"] for row in self("dlq", "list", "--live", "--json").rows]


@cache
def _command() -> Any:
    """All verbs, made once: that takes longer than most of what they do here."""
    return typer.main.get_command(program)


@contextmanager
def console(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, service: str = SERVICE
) -> Iterator[Console]:
    (folder / "service.py").write_text(service)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("WAYBILL_URL", "sqlite:///bus.db")
    monkeypatch.setenv("WAYBILL_APP", "service:app")
    monkeypatch.setenv("LOGNAME", "anna")
    monkeypatch.setattr("waybill.cli.program.program", _command())
    sys.modules.pop("service", None)
    try:
        yield Console(folder, capsys, monkeypatch)
    finally:
        sys.modules.pop("service", None)
