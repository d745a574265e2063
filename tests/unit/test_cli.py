"""The command line as its users meet it: a real process, a real file, what it prints and the code it exits with."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit import forked

CONTRACTS = """
from dataclasses import dataclass
from waybill import Topic

@dataclass
class OrderPlaced:
    order_id: str
    amount: int

orders = Topic("orders.placed", OrderPlaced, key=lambda order: order.order_id)
invoices = Topic("invoices.issued", OrderPlaced, unrouted="accept")
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
        return forked.run(arguments, cwd=self.folder, env={**self.environment, **environment}, given=given)

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
            "    service.app.observe(lambda handled: left.set() if not service.app._runtime.consumers[0]._window.held else None)\n"
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
        ("service", "write module:attribute, for instance service:app"),
        ("service.py:app", "names a file: write the module, service:app"),
        ("./shop/service.py", "names a file: write the module, shop.service:app"),
        ("/srv/shop.py:main", "names a file: write the module, shop:main, in /srv"),
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


def test_dev_says_so_where_a_broker_is_named_anyway(shell: Shell) -> None:
    for verb in (["backlog"], ["explain"], ["publish", "orders.placed", "--data", GOOD], ["dlq", "list"]):
        told = "--dev changes nothing: WAYBILL_URL names sqlite:///bus.db\n"
        assert shell.run(*verb, "--dev").stderr == told
    told = "--dev changes nothing: --url names sqlite:///other.db\n"
    assert shell.run("backlog", "--dev", "--url", "sqlite:///other.db").stderr == told
    assert not (shell.folder / "waybill.db").exists()


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
        "ready": 2, "in_flight": 0, "delayed": 0, "dead": 0, "handled": None, "approximate": [], "partitions": [],
        "circuits": None,
    }  # fmt: skip
    assert scans["ready"] == 0
    head, first, second = shell.done("backlog").splitlines()
    assert head.split("\t") == ["topic", "group", "ready", "in flight", "delayed", "dead", "handled", "oldest"]
    assert first.split("\t")[:6] == ["orders.placed", "billing", "2", "0", "0", "0"]
    assert second.startswith("scans\t")


def test_backlog_marks_what_the_broker_cannot_say(shell: Shell) -> None:
    first = shell.done("backlog").splitlines()[1]  # nothing was declared yet
    assert first.split("\t") == ["orders.placed", "billing", "?", "?", "?", "?", "-", "?"]
    row = json.loads(shell.done("backlog", "--json"))[0]
    assert row["ready"] is None
    assert "ready" in row["unknown"]


# ---------------------------------------------------------------- publish


def test_publish_one(shell: Shell) -> None:
    assert shell.done("publish", "orders.placed", "--data", GOOD) == "orders.placed on sqlite:///bus.db: 1 published\n"
    told = json.loads(
        shell.done("publish", "orders.placed", "--data", GOOD, "--key", "k", "--header", "a=b=c", "--json")
    )
    assert told == [
        {"topic": "orders.placed", "bus": "sqlite:///bus.db", "published": 1, "refused": 0, "unknown": 0, "bad": 0}
    ]


def test_publish_finds_topics_in_the_modules_the_application_imports_from(shell: Shell) -> None:
    assert (
        shell.done("publish", "invoices.issued", "--data", GOOD) == "invoices.issued on sqlite:///bus.db: 1 published\n"
    )


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
    assert (
        shell.done("publish", "orders.placed", "--from", "orders.jsonl")
        == "orders.placed on sqlite:///bus.db: 2500 published\n"
    )
    with sqlite3.connect(shell.folder / "bus.db") as connection:
        bodies = [
            json.loads(body)["amount"] for (body,) in connection.execute("SELECT body FROM messages ORDER BY seq")
        ]
    connection.close()
    assert bodies == list(range(2500))


def test_a_bad_line_stops_and_is_named(shell: Shell) -> None:
    ended = shell.run("publish", "orders.placed", "--from", "-", given=f"{GOOD}\n\n{GOOD}\nnonsense\n{GOOD}\n")
    assert (ended.returncode, ended.stdout) == (1, "orders.placed on sqlite:///bus.db: 2 published, 1 bad\n")
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
        {"topic": "orders.placed", "bus": "sqlite:///bus.db", "published": 2, "refused": 0, "unknown": 0, "bad": 2}
    ]
    assert [line.split(" does")[0] for line in ended.stderr.splitlines()] == ["line 1", "line 3"]


def test_what_the_broker_refuses_is_told_apart(shell: Shell) -> None:
    large = json.dumps({"order_id": "x" * (17 << 20), "amount": 1})
    ended = shell.run("publish", "orders.placed", "--from", "-", given=f"{GOOD}\n{large}\n")
    assert (ended.returncode, ended.stdout) == (1, "orders.placed on sqlite:///bus.db: 1 published, 1 refused\n")
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
        assert process.stdout.read() == b"orders.placed on sqlite:///bus.db: 1 published, 1 bad\n"


# ---------------------------------------------------------------- dead letters


def test_dlq_list_as_json(letters: Shell) -> None:
    found = json.loads(letters.done("dlq", "list", "--json"))
    assert len(found) == 3
    assert list(found[0]) == [
        "id", "topic", "group", "reason", "attempts", "at", "age_seconds", "error", "detail", "key", "redrives",
        "fingerprint", "disposition",
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
    for verb in (["list"], ["redrive"], ["discard", "--reason-text", "x"], ["export"]):
        told = letters.wrong("dlq", *verb, "--reason", "expird")
        assert "Did you mean expired? Reasons are: rejected, retries_exhausted, " in told
    ended = letters.run("dlq", "list", "--json", "--limit", "1")
    assert len(json.loads(ended.stdout)) == 1
    assert ended.stderr == "the newest 1 of 3: --limit shows more\n"


def test_dlq_list_in_a_pipe_is_plain_and_whole(letters: Shell) -> None:
    told = letters.done("dlq", "list")
    assert "\x1b" not in told
    head, *rows = told.splitlines()
    assert head.split("\t") == ["id", "topic/group", "reason", "attempts", "age", "error", "detail"]
    assert len(rows) == 3
    assert all(re.match(r"[0-9a-f-]{36}\t", row) for row in rows)
    assert any("amount -1 is \ufffd[31mnegative" in row for row in rows)  # one line, and nothing a terminal obeys


def test_dlq_list_fits_a_terminal_and_cuts_nothing_but_the_error(letters: Shell) -> None:
    head, *rows = [re.sub(r"\x1b\[[0-9;]*m", "", row) for row in on_terminal(letters, "dlq", "list")]
    assert all(len(row) <= 80 for row in (head, *rows))
    assert head.split() == ["id", "topic/group", "reason", "attempts", "age"]
    assert sorted(row.split()[1:4] for row in rows if not row.startswith(" ")) == [
        ["orders.placed/billing", "rejected", "1"],
        ["orders.placed/billing", "rejected", "1"],
        ["scans/billing", "rejected", "1"],
    ]
    assert sorted(row.strip() for row in rows if row.startswith(" ")) == [
        "Reject: amount -1 is \ufffd[31mnegative",
        "Reject: amount -2 is \ufffd[31mnegative",
        "Reject: unreadable",
    ]
    wide = sorted(on_terminal(letters, "dlq", "list", columns=200), key=lambda row: "scans" in row)
    assert len(wide) == 4
    assert wide[3].endswith("Reject  unreadable")


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
    assert "is a variable not set?" in letters.wrong("dlq", "show", "")
    assert "choose one" in letters.wrong("dlq", "show", "x", "--raw", "--json")


# ---------------------------------------------------------------- redrive, discard, export

BURY = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from service import app
from waybill import DeadLetterRecord
from waybill.message import Message
from waybill.topology import Destination

async def main(count, reason, age, expires):
    now = datetime.now(UTC)
    async with app.connected() as bus:
        await bus.admin.apply(await bus.admin.plan(app.topology))
        group = app.topology.subscriptions[0]
        record = DeadLetterRecord(
            reason=reason, topic=group.topic.name, group=group.group, attempts=5, at=now - timedelta(seconds=age)
        )
        letters = [
            Message(id=f"{reason}-{n}", type="placed", source="test", time=now, body=b"1", key="k", dead=record,
                    expires=now - timedelta(seconds=1) if expires else None)
            for n in range(count)
        ]
        async with bus.of(group.topic).sink(Destination("dead", group.topic, group.group)) as sink:
            await sink.send(letters, deadline=1e12)

asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), len(sys.argv) > 4))
"""


def bury(shell: Shell, count: int, reason: str, *, age: float = 0, expired: bool = False) -> None:
    """Dead letters of `orders.placed/billing`, with ids like `rejected-0`."""
    subprocess.run(
        [sys.executable, "-c", BURY, str(count), reason, str(age), *(["expired"] if expired else [])],
        cwd=shell.folder, env=shell.environment, check=True, timeout=30,
    )  # fmt: skip


def dead_ids(shell: Shell) -> list[str]:
    return [letter["id"] for letter in json.loads(shell.run("dlq", "list", "--json", "--limit", "9999").stdout)]


def waybill(shell: Shell, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "import sys; from waybill.cli import main; sys.exit(main())", *arguments]
    return subprocess.Popen(command, cwd=shell.folder, env=shell.environment, **more)


def test_redrive_shows_what_it_would_do_and_changes_nothing(shell: Shell) -> None:
    bury(shell, 3, "rejected", age=7200)
    bury(shell, 2, "expired", age=90, expired=True)
    ended = shell.run("dlq", "redrive", "--topic", "orders.placed", "--type", "placed")
    assert ended.returncode == 0
    head, *rows = (row.split("\t") for row in ended.stdout.splitlines())
    assert head == ["topic", "group", "reason", "letters", "oldest"]
    assert [row[:4] for row in rows] == [
        ["orders.placed", "billing", "rejected", "3"],
        ["orders.placed", "billing", "expired", "2"],
    ]
    assert rows[0][4] == "2.0 h"
    expired, hint = ended.stderr.splitlines()
    assert expired.startswith("2 of them have expired")
    assert hint.endswith("To do it: waybill dlq redrive --topic orders.placed --type placed --yes")
    assert len(dead_ids(shell)) == 5
    assert json.loads(shell.done("backlog", "--json"))[0]["ready"] == 0
    told = json.loads(shell.done("dlq", "redrive", "--json", "--limit", "4"))
    assert [(kind["dry_run"], kind["reason"], kind["letters"]) for kind in told] == [
        (True, "rejected", 3),
        (True, "expired", 1),
    ]


def test_redrive_warns_of_order_and_keeps_passwords_to_itself(shell: Shell) -> None:
    service = shell.folder / "service.py"
    service.write_text(SERVICE.replace("@app.consume(orders)", "@app.consume(orders, ordered=True)"))
    bury(shell, 1, "rejected")
    told = shell.run("dlq", "redrive", "--url", "sqlite:///bus.db").stderr
    assert "orders.placed/billing: consumed ordered" in told
    assert "end of its key's line" in told
    assert "--url sqlite:///bus.db --yes" in told
    code = "import sys; from waybill.cli.survey import command; print(command())"
    for given in (["--url", "amqp://me:secret@host/"], ["--url=amqp://me:secret@host/"]):
        ended = subprocess.run(
            [sys.executable, "-c", code, *given], capture_output=True, text=True, check=True, env=shell.environment
        )
        assert "me" in ended.stdout
        assert "secret" not in ended.stdout


def test_redrive_does_it(letters: Shell) -> None:
    assert letters.done("dlq", "redrive", "--yes") == "orders.placed/billing: 2 redriven\nscans/billing: 1 redriven\n"
    assert dead_ids(letters) == []
    assert [row["ready"] for row in json.loads(letters.done("backlog", "--json"))] == [2, 1]
    assert letters.done("dlq", "redrive", "--yes") == "no dead letter is like that\n"
    assert letters.run("dlq", "redrive").stderr == "no dead letter is like that\n"
    letters.kill_some()  # rejected again
    assert [letter["redrives"] for letter in json.loads(letters.done("dlq", "list", "--json"))] == [1, 1, 1]


def test_redrive_as_json(letters: Shell) -> None:
    told = json.loads(letters.done("dlq", "redrive", "--yes", "--json", "--topic", "scans"))
    assert told == [
        {
            "dry_run": False, "topic": "scans", "group": "billing", "redriven": 1, "refused": 0, "unknown": 0,
            "unremoved": 0, "unwanted": 0, "cause": "", "gave_up": False,
        }
    ]  # fmt: skip


def test_a_broker_moves_letters_itself_where_it_can_and_is_asked_for_nothing_besides(letters: Shell) -> None:
    for more in (["--limit", "4"], ["--reason", "rejected"], ["--older-than", "2h"], ["--id", "a"]):
        assert "--native" in letters.wrong("dlq", "redrive", "--native", "--yes", *more)
    assert "moves no dead letters by itself" in letters.wrong("dlq", "redrive", "--native", "--yes")


def test_redrive_filters(shell: Shell) -> None:
    bury(shell, 12, "rejected", age=5)
    bury(shell, 3, "crashed", age=3 * 3600)
    assert "4 redriven" in shell.done("dlq", "redrive", "--yes", "--reason", "rejected", "--limit", "4")
    assert dead_ids(shell) == [f"crashed-{n}" for n in range(3)] + [f"rejected-{n}" for n in range(4, 12)]
    assert "2 redriven" in shell.done("dlq", "redrive", "--yes", "--id", "rejected-10", "--id", "crashed-1")
    assert "3 redriven" in shell.done("dlq", "redrive", "--yes", "--newer-than", "2h", "--limit", "3")
    assert dead_ids(shell) == ["crashed-0", "crashed-2"] + [f"rejected-{n}" for n in (7, 8, 9, 11)]
    assert "2 redriven" in shell.done("dlq", "redrive", "--yes", "--older-than", "1.5h")
    assert shell.done("dlq", "redrive", "--yes", "--type", "other") == "no dead letter is like that\n"
    assert "1 redriven" in shell.done("dlq", "redrive", "--yes", "--id", "rejected-11")
    assert dead_ids(shell) == [f"rejected-{n}" for n in (7, 8, 9)]


def test_an_id_that_is_given_whole_is_meant(shell: Shell) -> None:
    bury(shell, 12, "rejected")
    assert "1 redriven" in shell.done("dlq", "redrive", "--yes", "--id", "rejected-1")
    assert {"rejected-10", "rejected-11"} <= set(dead_ids(shell))
    assert "several ids begin with 'rejected-1': rejected-10, rejected-11" in shell.wrong(
        "dlq", "redrive", "--yes", "--id", "rejected-1"
    )
    assert "begins with 'x'" in shell.wrong("dlq", "redrive", "--id", "x", code=1)


def test_redrive_wrong_use(shell: Shell) -> None:
    for age in ("5", "5w", "-5m", "five", "1e3s", "99999999d"):
        assert "--older-than" in shell.wrong("dlq", "redrive", f"--older-than={age}")
    assert "both" in shell.wrong("dlq", "redrive", "--older-than", "2h", "--newer-than", "60m")
    assert "orders.placed/billing" in shell.wrong("dlq", "redrive", "--group", "nobody", "--yes")
    assert shell.run("dlq", "redrive", "--limit", "0").returncode == 2
    assert shell.run("dlq", "redrive", "--rate", "0").returncode == 2


def test_redrive_ends_in_order_on_ctrl_c(shell: Shell) -> None:
    bury(shell, 50, "rejected")
    process = waybill(shell, "dlq", "redrive", "--yes", "--rate", "10", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while (json.loads(shell.done("backlog", "--json"))[0]["ready"] or 0) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == b"interrupted: the others are dead letters still\n"
    found = re.fullmatch(rb"orders.placed/billing: (\d+) redriven\n", out)
    assert found is not None
    left = dead_ids(shell)
    assert len(left) == 50 - int(found[1])
    assert json.loads(shell.done("backlog", "--json"))[0]["ready"] == int(found[1])
    assert f"{len(left)} redriven" in shell.done("dlq", "redrive", "--yes")  # none of them is held


def test_redrive_shows_a_bar_on_a_terminal_and_a_line_at_the_end(shell: Shell) -> None:
    bury(shell, 3, "rejected")
    leader, follower = pty.openpty()
    process = waybill(shell, "dlq", "redrive", "--yes", "--rate", "4", stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    told = read_all(leader)
    assert process.stdout is not None
    assert process.stdout.read() == b"orders.placed/billing: 3 redriven\n"
    process.stdout.close()
    assert process.wait(20) == 0
    assert "━" in told
    assert "2 so far" in told


def test_discard(letters: Shell) -> None:
    assert letters.run("dlq", "discard", "--yes").returncode == 2
    assert "--reason-text" in letters.wrong("dlq", "discard", "--yes", "--reason-text", " ")
    dry = letters.run("dlq", "discard", "--reason-text", "only a test", "--topic", "scans")
    assert dry.returncode == 0
    assert "To do it: waybill dlq discard --reason-text 'only a test' --topic scans --yes" in dry.stderr
    assert len(dead_ids(letters)) == 3
    (scan,) = json.loads(letters.done("dlq", "list", "--json", "--topic", "scans"))
    ended = letters.run("dlq", "discard", "--reason-text", "only a test", "--topic", "scans", "--yes")
    assert (ended.returncode, ended.stdout) == (0, "scans/billing: 1 discarded\n")
    assert f"discarding {scan['id']} of scans/billing (rejected): only a test\n" in ended.stderr
    assert len(dead_ids(letters)) == 2
    told = letters.run("dlq", "discard", "--reason-text", "x", "--yes", "--json").stdout
    assert json.loads(told) == [
        {"dry_run": False, "topic": "orders.placed", "group": "billing", "discarded": 2, "unremoved": 0, "unwanted": 0}
    ]
    assert [row["ready"] for row in json.loads(letters.done("backlog", "--json"))] == [0, 0]


def test_export(letters: Shell) -> None:
    assert letters.done("dlq", "export", "--to", "letters.jsonl") == "3 written to letters.jsonl\n"
    text = (letters.folder / "letters.jsonl").read_text()
    assert letters.done("dlq", "export") == text
    found = [json.loads(line) for line in text.splitlines()]
    assert sorted(item["attributes"]["id"] for item in found) == sorted(dead_ids(letters))
    order = next(item for item in found if item["attributes"].get("partitionkey") == "A-1")
    (shown,) = json.loads(letters.done("dlq", "show", order["attributes"]["id"], "--json"))
    assert {name: shown[name] for name in order} == order
    assert order["headers"] == {"tenant": "north"}
    scan = next(item for item in found if item["topic"] == "scans")
    assert (scan["body"], scan["body_encoding"]) == ("/wBzY2Fu", "base64")
    assert len(letters.done("dlq", "export", "--limit", "1", "--topic", "orders.placed").splitlines()) == 1


def test_an_export_never_replaces_a_file_and_leaves_none_that_is_not_whole(letters: Shell) -> None:
    (letters.folder / "kept").write_text("before")
    assert "there is such a file" in letters.wrong("dlq", "export", "--to", "kept")
    assert (letters.folder / "kept").read_text() == "before"
    letters.wrong("dlq", "export", "--to", "new", "--id", "zzz", code=1)
    assert not (letters.folder / "new").exists()
    assert "No such file" in letters.wrong("dlq", "export", "--to", "absent/new")


# ---------------------------------------------------------------- topology plan and verify, backlog --watch


def test_plan_and_verify_name_what_is_missing_and_change_nothing(shell: Shell) -> None:
    names = ["topic orders.placed", "topic scans", "group orders.placed/billing", "group scans/billing"]
    for _ in range(2):
        assert shell.done("topology", "plan") == "".join(f"would create {name}\n" for name in names)
        ended = shell.run("topology", "verify")
        assert (ended.returncode, ended.stderr) == (2, "")
        assert ended.stdout == "".join(f"missing: {name}\n" for name in names)
    ended = shell.run("topology", "verify", "--json")
    assert ended.returncode == 2
    assert json.loads(ended.stdout)[0] == {"action": "create", "what": "topic orders.placed", "detail": ""}
    shell.done("topology", "apply")
    assert shell.done("topology", "plan") == "nothing is missing\n"
    assert shell.done("topology", "verify") == "everything is there\n"
    assert json.loads(shell.done("topology", "verify", "--json")) == []


def test_watching_a_backlog_through_a_pipe(shell: Shell) -> None:
    shell.done("publish", "orders.placed", "--data", GOOD)
    process = waybill(shell, "backlog", "--watch", "0.2", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    head, first = process.stdout.readline(), process.stdout.readline()
    shell.done("publish", "orders.placed", "--data", GOOD)
    seen = [first]
    while seen[-1].split(b"\t")[3:4] != [b"2"]:
        seen.append(process.stdout.readline())
        assert len(seen) < 200
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert head.strip().split(b"\t")[:4] == [b"time", b"topic", b"group", b"ready"]
    assert re.match(rb"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00\torders\.placed\tbilling\t1\t", first)


def test_watching_a_backlog_as_json(shell: Shell) -> None:
    process = waybill(shell, "backlog", "--watch", "--json", "0.1", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    documents = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert {document[0]["topic"] for document in documents} == {"orders.placed"}


def test_watching_a_backlog_on_a_terminal(shell: Shell) -> None:
    shell.done("topology", "apply")
    leader, follower = pty.openpty()
    process = waybill(shell, "backlog", "--watch", "0.1", stdout=follower, stderr=follower)
    os.close(follower)
    told = b""
    while told.count(b"scans") < 3:  # drawn anew
        told += os.read(leader, 65536)
    process.send_signal(signal.SIGINT)
    told += read_all(leader).encode()
    assert process.wait(20) == 0
    assert b"Traceback" not in told
    assert b"\x1b[" in told
    assert "seconds are for --watch" in shell.wrong("backlog", "5")


def read_all(leader: int) -> str:
    """What comes from a terminal until its program has ended."""
    told = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break  # the terminal is closed
        if not part:
            break
        told += part
    os.close(leader)
    return told.decode()


def on_terminal(shell: Shell, *arguments: str, columns: int = 80) -> list[str]:
    """What `waybill` writes to a terminal of so many columns."""
    leader, follower = pty.openpty()
    program = "import sys; from waybill.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=shell.folder, stdout=follower, env={**shell.environment, "COLUMNS": str(columns), "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(follower)
        told = read_all(leader)
        assert process.wait(20) == 0
    return told.splitlines()
