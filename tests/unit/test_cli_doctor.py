"""`waybill doctor`: what it finds, the fix it names, its exit codes, and that nothing keeps it waiting."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_cli import CONTRACTS, Shell, read_all
from waybill import App, Retry, Topic
from waybill.doctor import of_backlog, of_plan
from waybill.findings import Finding
from waybill.topology import Backlog, Change, Count, Exactness, Plan, Subscription, TopicSpec, Topology

ADAPTER = """
import asyncio
from contextlib import suppress
from waybill.findings import Finding
from waybill_embedded import EmbeddedAdapter

class Knowing(EmbeddedAdapter):
    async def diagnose(self):
        return [Finding("server", "3.9"), Finding("permissions", "read", "may not write", "ask for it")]

class Deaf(EmbeddedAdapter):
    async def __aenter__(self):
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

def knowing(url, context):
    return Knowing("memory://", context)

def deaf(url, context):
    return Deaf("memory://", context)
"""


ACCEPT = ', unrouted="accept"'


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """With a service that lacks nothing, once its topology is there."""
    shell = Shell(tmp_path)
    contracts = CONTRACTS.replace('unrouted="accept")\nscans', 'groups=["mail"])\nscans')
    assert contracts != CONTRACTS
    (tmp_path / "contracts.py").write_text(contracts)
    return shell


def found(shell: Shell, *arguments: str, code: int, **environment: str) -> dict[str, dict[str, Any]]:
    """By what was looked at; the first with trouble, where there are several."""
    ended = shell.run("doctor", "--json", *arguments, **environment)
    assert (ended.returncode, ended.stderr) == (code, "")
    looked = json.loads(ended.stdout)
    assert all(list(one) == ["what", "value", "trouble", "fix"] for one in looked)
    assert any(one["trouble"] for one in looked) == bool(code)
    return {one["what"]: one for one in sorted(looked, key=lambda one: one["trouble"] or "")}


def adapters(shell: Shell) -> None:
    info = shell.folder / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[waybill.adapters]\nknowing = others:knowing\ndeaf = others:deaf\n")
    (shell.folder / "others.py").write_text(ADAPTER)


def test_nothing_is_wrong(shell: Shell) -> None:
    shell.done("topology", "apply")
    looked = found(shell, code=0)
    assert looked["Python"]["value"].startswith(".".join(map(str, sys.version_info[:3])))
    assert re.search(r"\bpydantic \d", looked["libraries"]["value"])
    assert looked["setting url"]["value"] == "sqlite:///bus.db (WAYBILL_URL)"
    assert looked["application"]["value"] == "service:app, named 'billing', handlers: 2"
    assert looked["broker"]["value"].startswith("the embedded broker (SQLite ")
    assert looked["topology"]["value"] == "all there (topics: 2, groups: 2)"
    assert looked["orders.placed/billing"]["value"] == "0 ready, 0 in flight, 0 delayed, 0 dead"
    assert shell.done("doctor").endswith("\nno trouble\n")


def test_what_is_missing_is_named_and_the_fix_it_names_fixes_it(shell: Shell) -> None:
    looked = found(shell, "--app", "service:app", "--url", "sqlite:///other.db", code=1)["topology"]
    assert looked["trouble"].startswith("missing: topic orders.placed, topic scans, group orders.placed/billing, ")
    command, _, _ = looked["fix"].partition(", or ")
    assert command == "waybill topology apply --app service:app --url sqlite:///other.db"
    shell.done(*shlex.split(command)[1:])
    found(shell, "--url", "sqlite:///other.db", code=0)


def test_dead_letters_are_trouble_and_the_fix_shows_them(shell: Shell) -> None:
    shell.done("publish", "orders.placed", "--data", '{"order_id": "A-1", "amount": -1}')
    shell.kill_some()
    looked = found(shell, "--app", "service:app", code=1)["orders.placed/billing"]
    assert (looked["value"], looked["trouble"]) == ("0 ready, 0 in flight, 0 delayed, 1 dead", "dead letters: 1")
    command, _, _ = looked["fix"].partition(" says why")
    assert "rejected" in shell.done(*shlex.split(command)[1:])


def test_a_group_that_others_handle_is_said_and_a_topic_without_any_is_trouble(shell: Shell) -> None:
    (shell.folder / "contracts.py").write_text(
        CONTRACTS.replace('"scans", bytes', '"scans", bytes, groups=["audit"]').replace(ACCEPT, "")
    )
    shell.done("topology", "apply")
    looked = found(shell, code=1)
    assert looked["scans/audit"]["value"].endswith("; no handler in this application")
    assert looked["scans/audit"]["trouble"] is None
    assert "no group is known" in looked["topic invoices.issued"]["trouble"]
    assert 'Topic("invoices.issued", …, groups=' in looked["topic invoices.issued"]["fix"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "NameError: name 'nonsense' is not defined"),
        ("import absent", "No module named 'absent'"),
        ("def", "SyntaxError"),
        ("", "service:app does not exist"),
    ],
)
def test_an_application_that_cannot_be_imported_is_trouble_and_the_broker_is_looked_at(
    shell: Shell, text: str, told: str
) -> None:
    (shell.folder / "service.py").write_text(f"{text}\n")
    looked = found(shell, code=1)
    assert told in looked["application"]["trouble"]
    assert looked["broker"]["trouble"] is None


def test_without_an_application_the_broker_is_looked_at(shell: Shell) -> None:
    del shell.environment["WAYBILL_APP"]
    looked = found(shell, code=1)
    assert "--app service:app" in looked["application"]["fix"]
    assert looked["broker"]["trouble"] is None


def test_where_settings_have_come_from_without_their_secrets(shell: Shell) -> None:
    (shell.folder / "waybill.toml").write_text("lease = 9\n[broker.rabbitmq]\npassword = 'hunter2'\n")
    ended = shell.run("doctor", "--json", "--url", "amqp://me:hunter2@host/", WAYBILL_PUBLISH_BUFFER="7")
    assert ended.returncode == 1
    assert "hunter2" not in ended.stdout
    looked = {one["what"]: one["value"] for one in json.loads(ended.stdout)}
    assert looked["setting url"] == "amqp://me:***@host/ (--url)"
    assert looked["setting lease"] == "9.0 (waybill.toml)"
    assert looked["setting publish_buffer"] == "7 (WAYBILL_PUBLISH_BUFFER)"
    assert looked["setting broker.rabbitmq.password"] == "*** (waybill.toml)"


def test_settings_that_cannot_be_used_are_trouble(shell: Shell) -> None:
    assert "Did you mean WAYBILL_LEASE?" in found(shell, code=1, WAYBILL_LEESE="1")["settings"]["trouble"]
    del shell.environment["WAYBILL_URL"]
    assert "Set WAYBILL_URL" in found(shell, code=1)["broker"]["trouble"]


def test_a_file_that_cannot_be_used_is_trouble(shell: Shell) -> None:
    (shell.folder / "bus.db").write_bytes(b"no database" * 100)
    assert "it is not an SQLite file" in found(shell, code=1)["broker"]["trouble"]


def test_a_broker_that_does_not_answer_is_trouble_in_bounded_time(shell: Shell) -> None:
    adapters(shell)
    with (shell.folder / "bus.db-turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # whoever wants to open the bus waits
        assert found(shell, "--timeout", "0.5", code=1)["broker"]["trouble"] == "no answer within 0.5 s"
    begun = time.monotonic()
    assert found(shell, "--timeout", "0.5", "--url", "deaf://", code=1)["broker"]["trouble"] == "no answer within 0.5 s"
    assert time.monotonic() - begun < 25  # it will not be cancelled, and is not waited for


def test_what_the_adapter_itself_finds(shell: Shell) -> None:
    adapters(shell)
    looked = found(shell, "--url", "knowing://", code=1)
    assert looked["server"] == {"what": "server", "value": "3.9", "trouble": None, "fix": None}
    assert (looked["permissions"]["trouble"], looked["permissions"]["fix"]) == ("may not write", "ask for it")


def test_it_fits_80_columns(shell: Shell) -> None:
    (shell.folder / "contracts.py").write_text(
        CONTRACTS.replace(ACCEPT, "").replace("invoices.issued", "invoices." + "issued" * 15)
    )
    told = shell.run("doctor").stdout
    assert "\x1b" not in told
    assert told.count("\n!!  ") == 2
    assert told.endswith("\n2 troubles\n")
    leader, follower = pty.openpty()
    program = "import sys; from waybill.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, "doctor"],
        cwd=shell.folder, stdout=follower, env={**shell.environment, "COLUMNS": "80", "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(follower)
        seen = read_all(leader)
        assert process.wait(20) == 1
    assert "\x1b[1;31m!!" in seen
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    assert max(len(line) for line in (*told.splitlines(), *plain.splitlines())) <= 80


def test_wrong_use(shell: Shell) -> None:
    assert shell.run("doctor", "--nonsense").returncode == 2
    assert shell.run("doctor", "--timeout", "0").returncode == 2


# ---------------------------------------------------------------- what backlogs and plans mean

ORDERS = Topic("orders", bytes)


def judged(*, handled: bool = True, timeout: float | None = 1.0, **counts: float | None) -> list[Finding]:
    app = App("billing")

    async def charge(body: bytes) -> None: ...

    app.consume(ORDERS, timeout=timeout, retry=Retry.fixed(3, delay=1000))(charge)
    figures = dict.fromkeys(("ready", "in_flight", "delayed", "dead", "next_due"), 0.0) | {"oldest": None} | counts
    backlog = Backlog(
        subscription=Subscription(topic=TopicSpec("orders"), group="billing"),
        **{name: Count(value, Exactness.EXACT) for name, value in figures.items()},
    )
    return list(of_backlog(backlog, app.registrations[0] if handled else None, " --dev"))


def test_messages_that_nobody_handles_are_trouble_after_a_while() -> None:
    (young,) = judged(ready=3, oldest=30)
    assert (young.value, young.trouble) == ("3 ready, 0 in flight, 0 delayed, 0 dead", None)
    (stalled,) = judged(ready=3, oldest=300)
    assert stalled.trouble == "the oldest message is 5 min old, and nobody handles any"
    assert stalled.fix is not None
    assert "waybill run --dev" in stalled.fix
    (others,) = judged(ready=3, oldest=300, handled=False)
    assert "the application that consumes it" in str(others.fix)
    assert judged(ready=3, in_flight=1, oldest=300)[0].trouble is None


def test_messages_older_than_all_their_attempts_may_take_are_trouble() -> None:
    assert judged(in_flight=2, oldest=1900)[0].trouble is None  # three attempts, a thousand seconds apart
    (late,) = judged(in_flight=2, oldest=2100)
    assert late.trouble == "the oldest message is 35 min old, older than all attempts together may take"
    assert "waybill backlog --watch --dev" in str(late.fix)
    assert judged(in_flight=2, oldest=2100, timeout=None)[0].trouble is None
    assert judged(in_flight=2, oldest=2100, handled=False)[0].trouble is None


def test_several_troubles_of_one_group_are_told_one_by_one() -> None:
    dead, stalled = judged(ready=1, dead=2, oldest=61)
    assert (dead.trouble, dead.value) == ("dead letters: 2", "1 ready, 0 in flight, 0 delayed, 2 dead")
    assert (stalled.what, stalled.value) == ("orders/billing", "")
    assert "--topic orders --group billing --dev" in str(dead.fix)


def test_what_a_broker_cannot_say_is_no_trouble() -> None:
    (unknown,) = judged(ready=None, in_flight=None, delayed=None, dead=None)
    assert (unknown.value, unknown.trouble) == ("the broker says nothing of it", None)


def test_what_differs_is_told_apart_from_what_is_missing() -> None:
    changes = [Change("create", "topic a"), Change("differs", "queue b", "max-length is 5, not 7")]
    missing, differs = of_plan(Plan(Topology((), ()), changes), "")
    assert missing.trouble == "missing: topic a"
    assert differs.trouble == "differs: queue b max-length is 5, not 7"
    assert missing.fix != differs.fix
