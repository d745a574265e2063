"""docs/dead-letters-on-call.md: its commands in their order, on dead letters of the application it shows."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.dlq.console import Console, console
from tests.docs.test_documents import ROOT, blocks
from waybill.dlq.policy import Policy

PAGE = ROOT / "docs" / "dead-letters-on-call.md"
RUN = [sys.executable, "-c", "import sys; from waybill.cli import main; sys.exit(main())", "run", "--workers", "0"]


@pytest.fixture
def waybill(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    with console(tmp_path, capsys, monkeypatch, blocks(PAGE, "python")[0]) as made:
        yield made


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """The service, as its owner runs it."""
    with (folder / "log").open("ab") as log, subprocess.Popen(RUN, cwd=folder, stdout=log, stderr=log) as service:
        try:
            yield
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0, (folder / "log").read_text()


def until(true: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def test_each_command_does_what_the_page_says(waybill: Console) -> None:
    look, on, have, back, cut, mended, kept = (block.splitlines() for block in blocks(PAGE, ""))
    bank, log = waybill.folder / "bank-is-up", waybill.folder / "log"
    (waybill.folder / "body.json").write_text('{"order_id": "o1", "cents": 1}')

    def call(line: str) -> str:
        words = {
            "FINGERPRINT": lambda: waybill("dlq", "groups", "--state", "any", "--json").rows[0]["fingerprint"],
            "ID": lambda: waybill("dlq", "list", "--live", "--json").rows[0]["id"],
            "OPERATION": lambda: waybill("dlq", "operations", "--ended", "--json").rows[0]["operation"],
        }
        line = re.sub("|".join(words), lambda found: words[found[0]](), line)
        program, *arguments = shlex.split(line)
        assert program == "waybill"
        return waybill(*arguments).out

    def die(count: int) -> None:
        """Messages that cannot be handled, and have been given up."""
        bank.unlink(missing_ok=True)
        data = "".join(f'{{"order_id": "o{number}", "cents": 1200}}\n' for number in range(count))
        Path("orders.jsonl").write_text(data)
        waybill("publish", "orders.placed", "--from", "orders.jsonl")
        with running(waybill.folder):
            until(lambda: waybill("backlog", "--json").rows[0]["dead"] == count, log)

    die(6)
    told = [call(line) for line in look + on + have]
    assert "6" in told[1]
    assert "the bank does not answer" in told[3]
    assert "triaged" in told[5]

    bank.touch()
    with running(waybill.folder):
        assert "6" in call(back[0])
        assert "6 redriven" in call(back[1])
        until(lambda: waybill("dlq", "collect", "--json").rows[0]["known"] == 0, log)
        until(lambda: "6 resolved" in [call(line) for line in back[2:]][-1], log)

    die(3)
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--canary", "1", "--patience", "0", "--yes", code=1)
    bank.touch()
    with running(waybill.folder):
        until(lambda: waybill("dlq", "collect", "--json").rows[0]["resolved"] == 1, log)
        assert "canary" in call(cut[0])
        assert "1 resolved, 2 to be sent" in call(cut[1])
        assert "3 redriven" in call(cut[2])
        assert "3 redriven" in call(cut[3])
        until(lambda: waybill("backlog", "--json").rows[0]["ready"] == 0, log)

    die(4)
    waybill("dlq", "collect")
    told = [call(line) for line in mended]
    assert '"cents":1200' in told[0]
    assert '+  "cents": 1' in told[1]
    assert "1 redriven" in told[2]
    assert told[4] == "3 written to letters.jsonl\n"
    assert "3 discarded" in told[5]
    told = [call(line) for line in kept]
    assert "paid by hand" in told[1]


def test_its_rule_book_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(blocks(PAGE, "toml")[0])
    rules = Policy.read(tmp_path / "policy.toml").of("orders.placed", "billing")
    assert (rules.owner, rules.redrive_limit, rules.service_level.total_seconds()) == ("orders", 1, 4 * 3600)
