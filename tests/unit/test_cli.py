"""The command line as its users meet it: a real process, a real file, what it prints and the code it exits with."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

CONTRACTS = """
from dataclasses import dataclass
from waybill import Topic

@dataclass
class OrderPlaced:
    order_id: str
    amount: int

orders = Topic("orders.placed", OrderPlaced, key=lambda order: order.order_id)
invoices = Topic("invoices.issued", OrderPlaced)
scans = Topic("scans", bytes)
"""
SERVICE = """
from contracts import OrderPlaced, orders, scans
from waybill import App, Reject

app = App("billing")
number = 7

@app.consume(orders)
async def charge(order: OrderPlaced) -> None:
    if order.amount < 0:
        raise Reject(f"amount {order.amount} is\\n \\x1b[31mnegative")

@app.consume(scans)
async def scan(data: bytes) -> None:
    raise Reject("unreadable")
"""
GOOD = '{"order_id": "A-1", "amount": 5}'


class Shell:
    """Runs `waybill` in a directory that holds an application."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "contracts.py").write_text(CONTRACTS)
        (folder / "service.py").write_text(SERVICE)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
        self.environment = {**kept, "WAYBILL_URL": "sqlite:///bus.db", "WAYBILL_APP": "service:app"}

    def run(self, *arguments: str, given: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "import sys; from waybill.cli import main; sys.exit(main())", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            input=given,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def done(self, *arguments: str, given: str | None = None) -> str:
        ended = self.run(*arguments, given=given)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    def wrong(self, *arguments: str, code: int = 2, **environment: str) -> str:
        """The one line of an error."""
        ended = self.run(*arguments, **environment)
        assert (ended.returncode, ended.stdout) == (code, "")
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1
        return ended.stderr

    def kill_some(self) -> None:
        """Let the application dead-letter what it rejects."""
        program = (
            "import asyncio, service\n"
            "async def main():\n"
            "    left = asyncio.Event()\n"
            "    service.app.observe(lambda handled: left.set() if not service.app._runtime.consumers[0]._held else None)\n"
            "    async with service.app.running():\n"
            "        await asyncio.wait_for(left.wait(), 10)\n"
            "        await asyncio.sleep(0.2)\n"
            "asyncio.run(main())"
        )
        subprocess.run([sys.executable, "-c", program], cwd=self.folder, env=self.environment, check=True, timeout=30)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def letters(shell: Shell) -> Shell:
    """With three dead letters: two orders, and bytes that are no text."""
    shell.done("publish", "orders.placed", "--data", '{"order_id": "A-1", "amount": -1}', "--header", "tenant=north")
    shell.done("publish", "orders.placed", "--data", '{"order_id": "A-2", "amount": -2}')
    (shell.folder / "scans").write_bytes(b"\xff\x00scan\n")
    shell.done("publish", "scans", "--from", "scans")
    shell.kill_some()
    return shell


# ---------------------------------------------------------------- help and wrong use


@pytest.mark.parametrize(
    "verb", [["run"], ["publish"], ["backlog"], ["topology", "apply"], ["dlq", "list"], ["dlq", "show"]]
)
def test_every_verb_explains_itself_with_an_example(shell: Shell, verb: list[str]) -> None:
    told = shell.done(*verb, "--help")
    assert f"Example: waybill {' '.join(verb)}" in told
    assert "\x1b" not in told


def test_an_unknown_option_is_wrong_use(shell: Shell) -> None:
    assert shell.run("backlog", "--nonsense").returncode == 2
    assert shell.run("nonsense").returncode == 2


def test_without_its_extra_it_says_how_to_get_it(shell: Shell) -> None:
    program = "import sys; sys.modules['typer'] = None; from waybill.cli import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", program, "backlog"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=shell.environment,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "The command line needs its extra. Install it with: pip install 'waybill[cli]'\n"


@pytest.mark.parametrize("verb", [["run"], ["backlog"], ["topology", "apply"], ["dlq", "list"], ["dlq", "show", "x"]])
def test_an_unknown_setting_is_wrong_use(shell: Shell, verb: list[str]) -> None:
    assert "WAYBILL_NONSENSE" in shell.wrong(*verb, WAYBILL_NONSENSE="1")


def test_an_unknown_key_in_the_file_is_wrong_use(shell: Shell) -> None:
    (shell.folder / "waybill.toml").write_text("nonsense = 1\n")
    assert "nonsense" in shell.wrong("backlog")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("nowhere:app", "there is no module 'nowhere'"),
        ("service:missing", "Found there: service:app"),
        ("service:number", "is a int, not an App"),
        ("service", "write module:attribute"),
        ("broken:app", "No module named 'absent'"),
        ("crooked:app", "SyntaxError"),
    ],
)
def test_a_missing_application_is_wrong_use(shell: Shell, reference: str, told: str) -> None:
    (shell.folder / "broken.py").write_text("import absent\n")
    (shell.folder / "crooked.py").write_text("def\n")
    assert told in shell.wrong("backlog", "--app", reference)
    assert told in shell.wrong("run", reference)


def test_no_application_at_all_is_wrong_use(shell: Shell) -> None:
    del shell.environment["WAYBILL_APP"]
    told = shell.wrong("backlog")
    assert "WAYBILL_APP" in told
    assert "waybill.toml" in told


def test_the_application_may_be_named_in_the_file(shell: Shell) -> None:
    del shell.environment["WAYBILL_APP"]
    (shell.folder / "waybill.toml").write_text('app = "service:app"\n')
    assert "orders.placed" in shell.done("backlog")


def test_without_a_terminal_a_broker_must_be_named(shell: Shell) -> None:
    del shell.environment["WAYBILL_URL"]
    assert "WAYBILL_URL" in shell.wrong("backlog")
    assert "WAYBILL_URL" in shell.wrong("run")
    assert "orders.placed" in shell.done("backlog", "--dev")
    assert (shell.folder / "waybill.db").exists()


def test_an_unknown_scheme_is_wrong_use(shell: Shell) -> None:
    assert "no adapter" in shell.wrong("backlog", "--url", "pigeon://roof")


def test_a_file_of_a_newer_version_has_failed_and_is_left_alone(shell: Shell) -> None:
    shell.done("topology", "apply")
    with sqlite3.connect(shell.folder / "bus.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "later version" in shell.wrong("backlog", code=1)


# ---------------------------------------------------------------- topology and backlog


def test_topology_apply_says_what_it_created(shell: Shell) -> None:
    created = json.loads(shell.done("topology", "apply", "--json"))
    assert {"action": "create", "what": "topic orders.placed", "detail": ""} in created
    assert {"action": "create", "what": "group orders.placed/billing", "detail": ""} in created
    assert json.loads(shell.done("topology", "apply", "--json")) == []
    assert shell.done("topology", "apply") == "nothing was missing\n"
    assert "created topic scans" in shell.done("topology", "apply", "--url", "sqlite:///other.db")


def test_backlog_counts_each_group(shell: Shell) -> None:
    shell.done("publish", "orders.placed", "--from", "-", given=f"{GOOD}\n{GOOD}\n")
    orders, scans = json.loads(shell.done("backlog", "--json"))
    age = orders.pop("oldest_seconds")
    assert 0 <= age < 30
    orders.pop("next_due_seconds")
    orders.pop("unknown")
    assert orders == {
        "topic": "orders.placed", "group": "billing",
        "ready": 2, "in_flight": 0, "delayed": 0, "dead": 0, "approximate": [],
    }  # fmt: skip
    assert scans["ready"] == 0
    head, first, second = shell.done("backlog").splitlines()
    assert re.split(r"  +", head) == ["topic", "group", "ready", "in flight", "delayed", "dead", "oldest"]
    assert re.split(r"  +", first)[:6] == ["orders.placed", "billing", "2", "0", "0", "0"]
    assert second.startswith("scans ")


def test_backlog_marks_what_the_broker_cannot_say(shell: Shell) -> None:
    first = shell.done("backlog").splitlines()[1]  # nothing was declared yet
    assert re.split(r"  +", first) == ["orders.placed", "billing", "?", "?", "?", "?", "?"]
    row = json.loads(shell.done("backlog", "--json"))[0]
    assert row["ready"] is None
    assert "ready" in row["unknown"]


# ---------------------------------------------------------------- publish


def test_publish_one(shell: Shell) -> None:
    assert shell.done("publish", "orders.placed", "--data", GOOD) == "orders.placed: 1 published\n"
    told = json.loads(
        shell.done("publish", "orders.placed", "--data", GOOD, "--key", "k", "--header", "a=b=c", "--json")
    )
    assert told == [{"topic": "orders.placed", "published": 1, "refused": 0, "unknown": 0, "bad": 0}]


def test_publish_finds_topics_in_the_modules_the_application_imports_from(shell: Shell) -> None:
    assert shell.done("publish", "invoices.issued", "--data", GOOD) == "invoices.issued: 1 published\n"


def test_publish_wrong_use(shell: Shell) -> None:
    assert "Did you mean orders.placed?" in shell.wrong("publish", "order.placed", "--data", GOOD)
    assert "--data" in shell.wrong("publish", "orders.placed")
    assert "--from" in shell.wrong("publish", "orders.placed", "--data", GOOD, "--from", "-")
    assert "name=value" in shell.wrong("publish", "orders.placed", "--data", GOOD, "--header", "a")
    assert "No such file" in shell.wrong("publish", "orders.placed", "--from", "absent")
    assert "'Traceparent'" in shell.wrong("publish", "orders.placed", "--data", GOOD, "--header", "Traceparent=1")


def test_data_that_does_not_fit_is_not_sent(shell: Shell) -> None:
    told = shell.wrong("publish", "orders.placed", "--data", '{"order_id": "A"}', code=1)
    assert "OrderPlaced" in told
    assert "amount: Field required" in told


def test_publish_many_lines(shell: Shell) -> None:
    lines = "".join(f'{{"order_id": "A-{number % 7}", "amount": {number}}}\n' for number in range(2500))
    (shell.folder / "orders.jsonl").write_text(lines)
    assert shell.done("publish", "orders.placed", "--from", "orders.jsonl") == "orders.placed: 2500 published\n"
    with sqlite3.connect(shell.folder / "bus.db") as connection:
        bodies = [
            json.loads(body)["amount"] for (body,) in connection.execute("SELECT body FROM messages ORDER BY seq")
        ]
    connection.close()
    assert bodies == list(range(2500))


def test_a_bad_line_stops_and_is_named(shell: Shell) -> None:
    ended = shell.run("publish", "orders.placed", "--from", "-", given=f"{GOOD}\n\n{GOOD}\nnonsense\n{GOOD}\n")
    assert (ended.returncode, ended.stdout) == (1, "orders.placed: 2 published, 1 bad\n")
    first, second = ended.stderr.splitlines()
    assert first.startswith("line 4 does not fit orders.placed (OrderPlaced): ")
    assert "tail -n +4" in second
    assert "--skip-bad" in second


def test_bad_lines_can_be_left_out(shell: Shell) -> None:
    ended = shell.run(
        "publish", "orders.placed", "--skip-bad", "--json", "--from", "-", given=f"{{}}\n{GOOD}\n[]\n{GOOD}"
    )
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == [
        {"topic": "orders.placed", "published": 2, "refused": 0, "unknown": 0, "bad": 2}
    ]
    assert [line.split(" does")[0] for line in ended.stderr.splitlines()] == ["line 1", "line 3"]


def test_what_the_broker_refuses_is_told_apart(shell: Shell) -> None:
    large = json.dumps({"order_id": "x" * (17 << 20), "amount": 1})
    ended = shell.run("publish", "orders.placed", "--from", "-", given=f"{GOOD}\n{large}\n")
    assert (ended.returncode, ended.stdout) == (1, "orders.placed: 1 published, 1 refused\n")
    assert "line 2: refused, certainly not stored: the body has" in ended.stderr


def test_lines_are_published_as_they_arrive(shell: Shell) -> None:
    """A slow pipe is not waited for, and one that stays open does not keep a stopped publish from ending."""
    command = [sys.executable, "-c", "import sys; from waybill.cli import main; sys.exit(main())"]
    with subprocess.Popen(
        [*command, "publish", "orders.placed", "--from", "-"],
        cwd=shell.folder, env=shell.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(GOOD.encode() + b"\nnonsense\n")
        process.stdin.flush()
        assert process.wait(20) == 1
        assert process.stdout is not None
        assert process.stdout.read() == b"orders.placed: 1 published, 1 bad\n"


# ---------------------------------------------------------------- dead letters


def test_dlq_list_as_json(letters: Shell) -> None:
    found = json.loads(letters.done("dlq", "list", "--json"))
    assert len(found) == 3
    assert list(found[0]) == [
        "id", "topic", "group", "reason", "attempts", "at", "age_seconds", "error", "detail", "key", "redrives",
    ]  # fmt: skip
    assert [letter["at"] for letter in found] == sorted(letter["at"] for letter in found)
    order = next(letter for letter in found if letter["key"] == "A-1")
    assert (order["topic"], order["group"], order["reason"]) == ("orders.placed", "billing", "rejected")
    assert order["attempts"] == 1
    assert order["error"] == "waybill.errors.Reject"


def test_dlq_list_filters(letters: Shell) -> None:
    assert len(json.loads(letters.done("dlq", "list", "--json", "--topic", "scans"))) == 1
    assert json.loads(letters.done("dlq", "list", "--json", "--reason", "expired")) == []
    assert "orders.placed/billing" in letters.wrong("dlq", "list", "--group", "nobody")
    ended = letters.run("dlq", "list", "--json", "--limit", "1")
    assert len(json.loads(ended.stdout)) == 1
    assert ended.stderr == "the newest 1 of 3: --limit shows more\n"


def test_dlq_list_in_a_pipe_is_plain_and_whole(letters: Shell) -> None:
    told = letters.done("dlq", "list")
    assert "\x1b" not in told
    head, *rows = told.splitlines()
    assert re.split(r"  +", head) == ["id", "topic/group", "reason", "attempts", "age", "error", "detail"]
    assert len(rows) == 3
    assert all(re.match(r"[0-9a-f-]{36}  ", row) for row in rows)
    assert any("amount -1 is \ufffd[31mnegative" in row for row in rows)  # one line, and nothing a terminal obeys


def test_dlq_list_fits_a_terminal(letters: Shell) -> None:
    rows = on_terminal(letters, "dlq", "list")
    assert len(rows) == 4
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", row)) <= 80 for row in rows)


def test_dlq_show(letters: Shell) -> None:
    letter = next(x for x in json.loads(letters.done("dlq", "list", "--json")) if x["key"] == "A-1")
    told = letters.done("dlq", "show", letter["id"][:8])
    for part in ("partitionkey: A-1", "tenant: north", "reason: rejected", "in charge\n", '"amount": -1'):
        assert part in told
    assert "\x1b" not in told
    (whole,) = json.loads(letters.done("dlq", "show", letter["id"], "--json"))
    assert json.loads(whole["body"]) == {"order_id": "A-1", "amount": -1}
    assert whole["headers"] == {"tenant": "north"}
    assert whole["attributes"]["partitionkey"] == "A-1"
    assert "charge" in whole["record"]["stack"]
    assert json.loads(letters.done("dlq", "show", letter["id"], "--raw")) == {"order_id": "A-1", "amount": -1}


def test_dlq_show_of_bytes(letters: Shell) -> None:
    (letter,) = json.loads(letters.done("dlq", "list", "--json", "--topic", "scans"))
    assert "00000000  ff 00 73 63 61 6e" in letters.done("dlq", "show", letter["id"])
    (whole,) = json.loads(letters.done("dlq", "show", letter["id"], "--json"))
    assert (whole["body"], whole["body_encoding"]) == ("/wBzY2Fu", "base64")
    program = "import sys; from waybill.cli import main; sys.exit(main())"
    raw = subprocess.run(
        [sys.executable, "-c", program, "dlq", "show", letter["id"], "--raw"],
        cwd=letters.folder, env=letters.environment, capture_output=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    assert raw == b"\xff\x00scan"


def test_dlq_show_of_none_has_failed(letters: Shell) -> None:
    assert "begins with 'zzz'" in letters.wrong("dlq", "show", "zzz", code=1)
    assert "several ids begin" in letters.wrong("dlq", "show", "")
    assert "choose one" in letters.wrong("dlq", "show", "x", "--raw", "--json")


def on_terminal(shell: Shell, *arguments: str) -> list[str]:
    """What `waybill` writes to a terminal of 80 columns."""
    leader, follower = pty.openpty()
    program = "import sys; from waybill.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=shell.folder, stdout=follower, env={**shell.environment, "COLUMNS": "80", "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(follower)
        told = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break  # the terminal is closed
            if not part:
                break
            told += part
        assert process.wait(20) == 0
    os.close(leader)
    return told.decode().splitlines()
