"""`waybill dlq` over an index: looked at, sorted out, sent back, and all of it written down."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.dlq.console import Console
from waybill.cli.dlq import verbs

GOOD = b'{"order_id": "A-1", "amount": 5}'
BAD = b'{"order_id": "A-1", "amount": "five"}'


# ---------------------------------------------------------------- looking


def test_looking_makes_no_file(waybill: Console) -> None:
    waybill.bury("one", "two")
    before = {path.name for path in waybill.folder.iterdir() if not path.name.startswith("bus.db")}
    assert len(waybill("dlq", "list").lines) == 3
    assert waybill("dlq", "groups", "--json").rows[0]["open"] == 2
    assert "order_id" in waybill("dlq", "show", "one").out
    assert "dry run" in waybill("dlq", "redrive").err
    assert "dry run" in waybill("dlq", "discard", "--reason-text", "x").err
    assert len(waybill("dlq", "export").lines) == 2
    for verb in ("operations", "audit", "review"):
        assert "`waybill dlq collect` makes it" in waybill("dlq", verb, code=2).err
    for more in (["--canary", "1"], ["--to", "refunds"], ["--expired"], ["--force"], ["--ahead", "5"]):
        assert "`waybill dlq collect` makes" in waybill("dlq", "redrive", *more, code=2).err
    assert "which `waybill dlq collect` makes" in waybill("dlq", "list", "--state", "triaged", code=2).err
    assert {path.name for path in waybill.folder.iterdir() if not path.name.startswith("bus.db")} == before


def test_collect_brings_them_and_the_index_is_asked_from_then_on(waybill: Console) -> None:
    waybill.bury("one", "two")
    waybill.bury("three", reason="rejected")
    found = waybill("dlq", "collect", "--json").rows
    assert found[0] == {
        "topic": "orders.placed", "group": "billing", "new": 3, "back": 0, "known": 0, "gone": 0, "resolved": 0,
        "complete": True,
    }  # fmt: skip
    waybill.bury("four")
    listed = waybill("dlq", "list", "--json").rows
    assert [(row["id"], row["state"]) for row in listed] == [
        ("one", "unresolved"), ("two", "unresolved"), ("three", "unresolved"),
    ]  # fmt: skip
    assert [row["id"] for row in waybill("dlq", "list", "--live", "--json").rows] == ["one", "two", "three", "four"]
    assert waybill("dlq", "collect").lines[1] == "orders.placed/billing\t1\t0\t3\t0\t0"
    waybill.bury("five")
    assert waybill("dlq", "redrive", "--json").rows[0]["letters"] == 5  # what moves letters looks at them first
    kinds = {row["reason"]: row for row in waybill("dlq", "groups", "--json").rows}
    assert {reason: kind["open"] for reason, kind in kinds.items()} == {"retries_exhausted": 4, "rejected": 1}
    alike = kinds["retries_exhausted"]["fingerprint"]
    assert len(waybill("dlq", "list", "--fingerprint", alike[:6], "--json").rows) == 5  # the reason is not a part of it
    live = {row["reason"]: row for row in waybill("dlq", "groups", "--live", "--json").rows}
    assert {kind["fingerprint"] for kind in live.values()} == {alike}


def test_lists_are_filtered_by_what_was_found_out(waybill: Console) -> None:
    waybill.bury("one", "two", "three")
    waybill("dlq", "collect")
    waybill("dlq", "triage", "one", "--owner", "bob", "--ticket", "OPS-1", "--note", "the bank was down")
    waybill("dlq", "assign", "eve", "--id", "two")

    def ids(*words: str) -> list[str]:
        return [row["id"] for row in waybill("dlq", "list", "--json", *words).rows]

    assert ids("--owner", "bob") == ["one"]
    assert ids("--owner", "none") == ["three"]
    assert ids("--state", "triaged") == ["one", "two"]
    assert ids("--state", "triaged", "--state", "unresolved") == ["one", "two", "three"]
    assert ids("--text", "bank answer") == ["one", "two", "three"]
    assert ids("--text", "nowhere") == []
    assert ids("--older-than", "1h") == []
    assert ids("--limit", "1") == ["three"]
    assert "the newest 1 of 3" in waybill("dlq", "list", "--limit", "1").err
    assert "there is no such state" in waybill("dlq", "list", "--state", "resolvd", code=2).err
    assert "Known are: orders.placed/billing" in waybill("dlq", "list", "--topic", "orders.plced", code=2).err
    assert waybill("dlq", "list", "--topic", "refunds", "--json").rows == []
    one = waybill("dlq", "show", "one").out
    assert "state: triaged (bob)" in one
    assert "ticket: OPS-1" in one
    assert "unresolved → triaged: the bank was down" in one


def test_no_table_is_wider_than_a_terminal(waybill: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{number}f3c2b1a-0000-4000-8000-000000000000" for number in range(3)]
    waybill.bury(*ids)
    waybill("dlq", "collect")
    waybill("dlq", "triage", "--all", "--owner", "christopher", "--note", "a long story " * 9)
    waybill("dlq", "redrive", "--id", ids[0], "--yes", "--why", "because it is mended, they say, " * 4)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for verb in ("list", "groups", "operations", "audit", "collect", "redrive", "review"):
        told = waybill("dlq", verb)
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in told.lines]
        assert len(lines) > 1, verb
        assert max(map(len, lines)) <= 80, (verb, lines)
        assert any("orders.placed/billing" in line for line in lines), verb


def test_a_kind_says_on_a_narrow_terminal_what_a_redrive_is_good_for(
    waybill: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    waybill.bury("one", disposition="transient_exhausted")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    (kind, beneath) = waybill("dlq", "groups").lines[1:]
    assert "retries_exhausted" in kind
    assert "transient_exhausted: ConnectionError" in beneath


def test_an_index_that_has_nothing_yet_says_how_to_fill_it(waybill: Console) -> None:
    waybill("dlq", "collect")
    waybill.bury("one")
    for verb in ("list", "groups"):
        assert "waybill dlq collect" in waybill("dlq", verb).err, verb
        assert "waybill dlq collect" not in waybill("dlq", verb, "--live").err, verb
    waybill("dlq", "collect")
    assert not waybill("dlq", "list").err


def test_ids_are_as_long_as_tells_them_apart(waybill: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    waybill.bury("0190a-letter-1", "0190a-letter-2", "0190b")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    ids = [line.split()[0] for line in waybill("dlq", "list").lines[1:]]
    assert ids == ["0190a-letter-1", "0190a-letter-2", "0190b"]
    assert [line.split()[0] for line in waybill("dlq", "list", "--limit", "2").lines[1:]] == ["0190a-le", "0190b"]


SECRET = "hunter2-hunter2"


def test_secrets_are_masked_wherever_people_look(waybill: Console) -> None:
    waybill.bury(
        "one",
        body=json.dumps(
            {"order_id": "A", "amount": 1, "password": SECRET, "cvv": 737, "callback": f"https://me:{SECRET}@shop/"}
        ).encode(),
        headers={"authorization": f"Bearer {SECRET}", "tenant": "north", "link": f"https://me:{SECRET}@shop/"},
        detail=f"cannot log in with password={SECRET}",
    )
    for _ in range(2):
        for verb in (
            ["list"], ["list", "--json"], ["groups"], ["groups", "--json"], ["show", "one"], ["show", "one", "--json"],
            ["redrive"],
        ):  # fmt: skip
            told = waybill("dlq", *verb)
            assert SECRET not in told.out + told.err, verb
        waybill("dlq", "collect")
    waybill("dlq", "triage", "one", "--note", f"somebody wrote password={SECRET}")
    assert "somebody wrote" in (told := waybill("dlq", "audit").out)
    assert SECRET not in told
    told = waybill("dlq", "show", "one")
    assert "tenant: north" in told.out
    assert '"password": "***"' in told.out
    assert '"cvv": "***"' in told.out
    assert "--raw writes the body as it is" in told.err
    edited = waybill("dlq", "edit", "one", "--why", "x", "--header", "tenant=south")
    assert "+tenant: south" in edited.out
    assert SECRET not in edited.out + edited.err
    assert SECRET in waybill("dlq", "show", "one", "--raw").out
    assert SECRET in waybill("dlq", "export").out


NEEDED = {
    "show": ["one"], "triage": ["--all", "--note", "x"], "assign": ["eve", "--all"], "reopen": ["--all"],
    "resolve": ["--all", "--note", "x"], "discard": ["--reason-text", "x"], "edit": ["one", "--why", "x", "--header", "a=b"],
    "import": ["kept.jsonl"],
}  # fmt: skip
"""What a verb cannot do without."""


def test_every_verb_prints_json_or_plain_text_in_a_pipe(waybill: Console) -> None:
    """Those that move something only say what they would do."""
    waybill.bury("one", "two")
    waybill("dlq", "export", "--to", "kept.jsonl")
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--id", "two", "--yes")
    (operation,) = (row["operation"] for row in waybill("dlq", "operations", "--json").rows)
    ended = {"cancel": [operation], "settle": [operation, "--why", "x"]}
    names = [command.name for command in verbs.registered_commands if command.name]
    for name in names:
        words = NEEDED.get(name, ended.get(name, []))
        plain = waybill("dlq", name, *words)
        assert plain.out, name
        assert not re.search("[\x1b\r━]", plain.out + plain.err), name
        if name != "export":  # which writes lines
            assert isinstance(waybill("dlq", name, *words, "--json").rows, list), name


# ---------------------------------------------------------------- reviews


def test_what_is_found_out_is_written_down_with_who_and_why(waybill: Console) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "collect")
    assert waybill("dlq", "triage", "one", "--note", "a comma too many", "--by", "bob").out == (
        "orders.placed/billing: 1 triaged\n"
    )
    assert waybill("dlq", "assign", "eve", "--all", "--json").rows == [
        {"topic": "orders.placed", "group": "billing", "triaged": 2}
    ]
    assert waybill("dlq", "reopen", "two").out == "orders.placed/billing: 1 unresolved\n"
    lines = waybill("dlq", "audit", "--json").rows
    told = [(entry["by"], entry["id"], entry["after"]) for entry in lines if entry["id"]]
    assert told == [
        ("bob", "one", "triaged"), ("anna", "one", "triaged"), ("anna", "two", "triaged"), ("anna", "two", "unresolved"),
    ]  # fmt: skip
    assert [entry["why"] for entry in waybill("dlq", "audit", "--id", "on", "--json").rows] == ["a comma too many", ""]
    assert len(waybill("dlq", "audit", "--limit", "2").lines) == 3


def test_a_review_must_say_which_and_what(waybill: Console) -> None:
    waybill.bury("one", "other")
    waybill("dlq", "collect")
    assert "--owner, --ticket, --note" in waybill("dlq", "triage", "one", code=2).err
    for verb in (["assign", "eve"], ["triage", "--note", "x"], ["reopen"], ["resolve", "--note", "x"]):
        assert "say which" in waybill("dlq", *verb, code=2).err
    assert "name the owner" in waybill("dlq", "assign", " ", "one", code=2).err
    assert "begins with 'nobody'" in waybill("dlq", "assign", "eve", "nobody", code=1).err
    assert waybill("dlq", "resolve", "one", "--note", "paid by hand", code=1).err.startswith(
        "error: no dead letter that"
    )
    assert waybill("dlq", "assign", "eve", "--reason", "rejected").out == "no dead letter is like that\n"


def test_what_the_broker_has_no_more_can_be_resolved_by_hand(waybill: Console) -> None:
    waybill.bury("one")
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--topic", "orders.placed", "--yes")
    waybill("dlq", "reopen", "one", code=1)  # an operation is busy with it
    waybill.bury("two")
    waybill("dlq", "collect")
    (waybill.folder / "waybill-dlq.db").rename(waybill.folder / "kept.db")
    waybill("dlq", "discard", "--id", "two", "--reason-text", "by somebody without the index", "--yes")
    (waybill.folder / "kept.db").rename(waybill.folder / "waybill-dlq.db")
    waybill("dlq", "collect")
    assert [row["state"] for row in waybill("dlq", "list", "--id", "two", "--state", "any", "--json").rows] == [
        "archived"
    ]
    assert "the broker had them no more" in waybill("dlq", "reopen", "two", code=1).err
    assert waybill("dlq", "resolve", "two", "--note", "paid by hand").out == "orders.placed/billing: 1 resolved\n"
    waybill.bury("three")
    waybill("dlq", "collect")
    waybill("dlq", "assign", "eve", "three")
    told = waybill("dlq", "reopen", "--all")
    assert (told.out, "1 left as they were" in told.err) == ("orders.placed/billing: 1 unresolved\n", True)
    states = {row["id"]: row["state"] for row in waybill("dlq", "list", "--state", "any", "--json").rows}
    assert (states["two"], states["three"]) == ("resolved", "unresolved")


# ---------------------------------------------------------------- operations


def test_a_redrive_is_planned_tried_with_a_few_and_gone_on_with(waybill: Console) -> None:
    waybill.bury("one", "two", "three")
    waybill("dlq", "collect")
    planned = waybill("dlq", "redrive", "--canary", "1", "--rate", "10")
    assert planned.lines[1].split("\t")[:2] == ["orders.placed/billing", "3"]
    assert planned.err.endswith("To do it: waybill dlq redrive --canary 1 --rate 10 --yes\n")
    assert waybill.ready() == 0
    words = ("--canary", "1", "--patience", "0", "--why", "the bank is back")
    begun = waybill("dlq", "redrive", *words, "--yes", code=1)
    assert "1 redriven" in begun.out
    (operation,) = waybill("dlq", "operations", "--json").rows
    assert (operation["state"], operation["by"], operation["why"]) == ("canary", "anna", "the bank is back")
    assert f"--resume {operation['operation']} --yes goes on" in begun.err
    waybill.work(1)
    assert waybill("dlq", "collect", "--json").rows[0]["resolved"] == 1
    shown = waybill("dlq", "redrive", "--resume", operation["operation"][:6])
    assert "a dry run" in shown.err
    told = waybill("dlq", "redrive", "--resume", operation["operation"][:6], "--yes", "--json").rows
    assert (told[0]["resolved"], told[0]["pending"]) == (1, 2)
    waybill.work(2)
    waybill("dlq", "collect")
    assert waybill("dlq", "operations", "--json").rows == []
    (ended,) = waybill("dlq", "operations", "--ended", "--json").rows
    assert (ended["state"], ended["resolved"]) == ("done", 3)
    assert {row["state"] for row in waybill("dlq", "list", "--state", "any", "--json").rows} == {"resolved"}
    audit = waybill("dlq", "audit", "--operation", operation["operation"][:6], "--json").rows
    assert {entry["by"] for entry in audit if entry["id"]} == {"anna"}


def test_what_fails_again_ends_it_and_is_unresolved_again(waybill: Console) -> None:
    waybill.bury(*(f"letter-{number}" for number in range(10)))
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--canary", "2", "--patience", "0", "--yes", code=1)
    (operation,) = waybill("dlq", "operations", "--json").rows
    waybill.broken.touch()
    waybill.work(2)
    ended = waybill("dlq", "redrive", "--resume", operation["operation"], "--yes", "--json", code=1).rows[0]
    assert (ended["state"], ended["came_back"], ended["freed"]) == ("aborted", 2, 8)
    found = waybill("dlq", "list", "--json").rows
    assert len(found) == 10
    assert {row["state"] for row in found} == {"unresolved"}
    assert sorted(row["id"] for row in found if row["came_back"]) == ["letter-0", "letter-1"]
    assert "unresolved again" in waybill("dlq", "list").out


def test_what_would_only_fail_again_is_left_unless_asked_for(waybill: Console) -> None:
    waybill.bury("fine")
    waybill.bury("late", expires=datetime(2020, 1, 1, tzinfo=UTC))
    waybill.bury("worn", redrives=3)
    waybill.bury("unfit", body=BAD)
    waybill("dlq", "collect")
    (plan,) = waybill("dlq", "redrive", "--json").rows
    assert (plan["found"], plan["letters"], plan["expired"], plan["worn"], plan["unfit"]) == (4, 1, 1, 1, 1)
    told = waybill("dlq", "redrive").err
    for part in ("1 have expired and are left", "redrive_limit", "cannot be read by the topic's codec"):
        assert part in told
    done = waybill("dlq", "redrive", "--yes", code=1)
    assert "1 redriven" in done.out
    for part in ("1 have expired and are left", "redrive_limit", "cannot be read by the topic's codec"):
        assert part in done.err
    assert waybill.dead() == ["late", "worn", "unfit"]
    done = waybill("dlq", "redrive", "--yes", code=1)
    assert (done.out, "redrive_limit" in done.err) == ("none of them was moved\n", True)
    assert waybill("dlq", "redrive", "--yes", "--json", code=1).rows == []
    waybill.bury("fine again")
    waybill("dlq", "redrive", "--id", "fine again", "--yes")  # all that were asked for
    (plan,) = waybill("dlq", "redrive", "--force", "--expired", "--json").rows
    assert plan["letters"] == 3


def test_ids_may_be_abbreviated_where_one_is_meant(waybill: Console) -> None:
    waybill.bury("letter-1", "letter-10", "other")
    waybill("dlq", "collect")
    assert "several ids begin with 'letter'" in waybill("dlq", "redrive", "--id", "letter", code=2).err
    assert "begins with 'x'" in waybill("dlq", "redrive", "--id", "x", code=1).err
    assert waybill("dlq", "redrive", "--id", "letter-1", "--id", "oth", "--json").rows[0]["letters"] == 2
    waybill("dlq", "redrive", "--limit", "1", "--yes")
    assert len(waybill.dead()) == 2


def test_letters_are_sent_elsewhere(waybill: Console) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "collect")
    assert "knows no topic 'refund'. Did you mean refunds?" in waybill("dlq", "redrive", "--to", "refund", code=2).err
    told = waybill("dlq", "redrive", "--to", "refunds/billing")
    assert "to refunds/billing" in told.out
    waybill("dlq", "redrive", "--to", "refunds/billing", "--yes")
    assert [row["ready"] for row in waybill("backlog", "--json").rows] == [0, 2]
    assert waybill.dead() == []


def test_an_operation_is_cancelled(waybill: Console) -> None:
    waybill.bury("one", "two", "three")
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--canary", "1", "--patience", "0", "--yes", code=1)
    (operation,) = waybill("dlq", "operations", "--json").rows
    told = waybill("dlq", "cancel", operation["operation"][:6], "--why", "wrong letters")
    assert "is cancelled" in told.out
    assert "cancelled by anna: wrong letters" in waybill("dlq", "operations", "--ended").out
    assert {row["state"] for row in waybill("dlq", "list", "--json").rows} == {"pending", "unresolved"}
    assert "begin another" in waybill("dlq", "redrive", "--resume", operation["operation"], "--yes", code=2).err
    assert "no operation has an id" in waybill("dlq", "cancel", "nothing", code=2).err


def test_discarding_is_an_operation_as_well(waybill: Console) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "collect")
    assert (
        waybill("dlq", "discard", "--id", "one", "--reason-text", "a test")
        .lines[1]
        .startswith("orders.placed/billing\t1")
    )
    told = waybill("dlq", "discard", "--id", "one", "--reason-text", "a test", "--yes")
    assert told.out.startswith("orders.placed/billing: 1 discarded")
    assert waybill.dead() == ["two"]
    (letter,) = waybill("dlq", "list", "--state", "discarded", "--json").rows
    assert letter["id"] == "one"
    assert any("a test" in entry["why"] for entry in waybill("dlq", "audit", "--id", "one", "--json").rows)


def test_a_letter_is_mended(waybill: Console) -> None:
    waybill.bury("one", body=BAD, headers={"tenant": "north"})
    waybill("dlq", "collect")
    Path("body.json").write_bytes(GOOD)
    words = ("dlq", "edit", "one", "--why", "five is a number")
    assert "say what is to be mended" in waybill(*words, code=2).err
    wrong = waybill(*words, "--header", "tenant=south", "--without", "tenant")
    assert "contract cannot read that either" in wrong.err
    assert "--force" in waybill(*words, "--header", "tenant=south", "--yes", code=2).err
    shown = waybill(*words, "--data", "body.json", "--header", "mended=yes")
    assert '-  "amount": "five"' in shown.out
    assert '+  "amount": 5' in shown.out
    assert "+mended: yes" in shown.out
    assert waybill.dead() == ["one"]
    assert "1 redriven" in waybill(*words, "--data", "body.json", "--header", "mended=yes", "--yes").out
    assert waybill.dead() == []
    waybill.work(1)
    waybill("dlq", "collect")
    assert [row["state"] for row in waybill("dlq", "list", "--state", "any", "--json").rows] == ["resolved"]
    assert any(entry["why"] == "five is a number" for entry in waybill("dlq", "audit", "--json").rows)
    late = waybill(*words, "--data", "body.json", "--header", "mended=yes", "--yes", code=2).err
    assert "it is resolved, and the broker had it no more" in late


# ---------------------------------------------------------------- reviews in time


def test_a_review_that_is_overdue_fails(waybill: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("policy.toml").write_text('[default]\nowner = "platform"\n\n["orders.*"]\nservice_level = "2h"\n')
    monkeypatch.setenv("WAYBILL_DLQ_POLICY", "policy.toml")
    waybill.bury("fresh", age=60)
    waybill("dlq", "collect")
    waybill("dlq", "review", "--fail-overdue")
    waybill.bury("old", age=7300)
    assert waybill("dlq", "review", "--as-seen", "--json").rows[0]["overdue"] == 0
    told = waybill("dlq", "review", "--fail-overdue", code=1)
    assert told.lines[1] == "orders.placed/billing\t2\t0\t0\t2.0 h\t2.0 h\t1 OVERDUE\tplatform"
    assert "1 dead letters are overdue" in told.err
    assert waybill("dlq", "review").out == told.out  # which only shows it
    waybill("dlq", "assign", "eve", "old")
    assert waybill("dlq", "review", "--fail-overdue", "--json").rows == [
        {
            "topic": "orders.placed", "group": "billing", "unresolved": 1, "triaged": 1, "under_way": 0,
            "oldest_seconds": pytest.approx(60, abs=60), "within_seconds": 7200.0, "owner": "platform", "overdue": 0,
        }
    ]  # fmt: skip
    Path("policy.toml").write_text("[default]\nowners = 1\n")
    assert "Known are: owner, service_level" in waybill("dlq", "review", code=2).err


# ---------------------------------------------------------------- out and in


def test_letters_are_exported_and_imported_again(waybill: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    waybill.bury("one", "two", headers={"tenant": "north"})
    waybill.bury("three", body=b"\xff\x00")
    assert waybill("dlq", "export", "--to", "letters.jsonl").out == "3 written to letters.jsonl\n"
    assert Path("letters.jsonl").stat().st_mode & 0o777 == 0o600
    again = waybill("dlq", "import", "letters.jsonl", "--yes", "--json").rows
    assert [(row["written"], row["known"]) for row in again] == [(0, 3)]
    monkeypatch.setenv("WAYBILL_URL", "sqlite:///other.db")
    waybill("topology", "apply")
    dry = waybill("dlq", "import", "letters.jsonl")
    assert dry.lines == ["topic/group\tletters", "orders.placed/billing\t3"]
    assert dry.err.endswith("To do it: waybill dlq import letters.jsonl --yes\n")
    assert waybill.dead() == []
    waybill("dlq", "collect")
    assert waybill("dlq", "import", "letters.jsonl", "--yes").out == "orders.placed/billing: 3 brought\n"
    assert waybill.dead() == ["one", "two", "three"]
    waybill("dlq", "export", "--to", "copy.jsonl")
    assert Path("copy.jsonl").read_bytes() == Path("letters.jsonl").read_bytes()
    assert [row["state"] for row in waybill("dlq", "list", "--json").rows] == ["unresolved"] * 3
    assert [entry["verb"] for entry in waybill("dlq", "audit", "--json").rows] == ["import", "collect"]
    assert "1 brought" in waybill("dlq", "import", "letters.jsonl", "--to", "refunds/billing", "--yes").out.replace(
        "3", "1"
    )


def test_an_import_is_read_whole_before_anything_is_sent(waybill: Console) -> None:
    waybill.bury("one")
    waybill("dlq", "export", "--to", "letters.jsonl")
    good = Path("letters.jsonl").read_text()
    waybill("dlq", "discard", "--reason-text", "x", "--yes")
    Path("letters.jsonl").write_text(good + "{}\n")
    assert "line 2 is no exported dead letter" in waybill("dlq", "import", "letters.jsonl", "--yes", code=2).err
    Path("letters.jsonl").write_text(good.replace('"billing"', '"shipping"'))
    told = waybill("dlq", "import", "letters.jsonl", "--yes", code=2).err
    assert (
        "no such topic and group: orders.placed/shipping. Its own are: orders.placed/billing, refunds/billing" in told
    )
    assert "No such file" in waybill("dlq", "import", "absent", code=2).err
    assert waybill.dead() == []


def test_a_collector_goes_on_until_it_is_told_to_end(waybill: Console) -> None:
    waybill.bury("one")
    program = "import sys; from waybill.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, "dlq", "collect", "--every", "0.1", "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert (first["topic"], first["new"]) == ("orders.placed", 1)
        waybill.bury("two")
        while json.loads(process.stdout.readline())["new"] != 1:
            pass
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 0
