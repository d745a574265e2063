"""`waybill dlq` where somebody is in a hurry, misspeaks, or the broker shows and keeps less than all."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.dlq.console import SERVICE, Console, console
from waybill.adapter import Page
from waybill.dlq.index import Index
from waybill.dlq.operations import Operations
from waybill.errors import BrokerUnavailable, DestinationMissing
from waybill.message import Message
from waybill.outcomes import Refused, SendResult
from waybill.topology import Destination, Subscription
from waybill_embedded import EmbeddedAdapter
from waybill_embedded.admin import FileAdmin


def test_what_has_expired_and_is_wanted_all_the_same_is_handled(waybill: Console) -> None:
    over = datetime.now(UTC) - timedelta(hours=1)
    waybill.bury("late", "later", reason="expired", expires=over)
    waybill("dlq", "collect")
    assert "2 have expired" in waybill("dlq", "redrive").err
    waybill("dlq", "edit", "later", "--header", "tenant=south", "--why", "it had none", "--yes")
    waybill("dlq", "redrive", "--expired", "--yes")
    waybill.work(2)
    waybill("dlq", "collect")
    assert waybill.dead() == []
    assert {row["state"] for row in waybill("dlq", "list", "--state", "any", "--json").rows} == {"resolved"}


def test_what_is_not_clearly_meant_is_not_changed(waybill: Console) -> None:
    waybill.bury("letter-1", "letter-2")
    waybill.bury("other", type="a1")  # whose fingerprint begins as theirs do
    unset: list[tuple[str, ...]] = [("--fingerprint", ""), ("--id", " "), ("--fingerprint", "", "--id", "letter-1")]
    verbs: list[tuple[str, ...]] = [
        ("redrive", "--yes"), ("discard", "--reason-text", "x", "--yes"), ("triage", "--note", "x"), ("resolve", "--note", "x"),
        ("assign", "eve"), ("reopen",), ("export",), ("list",),
    ]  # fmt: skip
    kinds = {row["fingerprint"] for row in waybill("dlq", "groups", "--live", "--json").rows}
    (alike,) = {kind[0] for kind in kinds}
    assert len(kinds) == 2
    for index in ("without", "with"):
        if index == "with":
            waybill("dlq", "collect")
        for verb in verbs if index == "with" else (*verbs[:2], *verbs[-2:]):
            for which in unset:
                assert "is a variable not set?" in waybill("dlq", *verb, *which, code=2).err
        for verb in verbs[:2]:
            assert "several fingerprints" in waybill("dlq", *verb, "--fingerprint", alike, code=2).err
            assert "several ids" in waybill("dlq", *verb, "--id", "letter", code=2).err
    for verb in (verbs[2], verbs[4]):
        assert "several fingerprints" in waybill("dlq", *verb, "--fingerprint", alike, code=2).err
    for verb in verbs[2:6]:
        assert "is a variable not set?" in waybill("dlq", *verb, "", code=2).err
        assert "several ids begin with 'letter'" in waybill("dlq", *verb, "letter", code=2).err
    assert "is a variable not set?" in waybill("dlq", "show", "", code=2).err
    for verb in (("redrive",), ("import", "letters.jsonl")):  # which would be where they came from
        assert "--to is empty" in waybill("dlq", *verb, "--to", "", "--yes", code=2).err
    assert waybill.dead() == ["letter-1", "letter-2", "other"]
    assert {row["state"] for row in waybill("dlq", "list", "--json").rows} == {"unresolved"}


def test_what_another_operation_has_is_told_and_left(waybill: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "collect")

    def silent(*_: object) -> None:
        raise BrokerUnavailable("it does not answer")

    with monkeypatch.context() as cut:
        cut.setattr(EmbeddedAdapter, "dead_letters", silent)
        told = waybill("dlq", "discard", "--reason-text", "too late", "--yes", code=1)
    assert "0 discarded: 2 to be removed" in told.out
    assert "cut short: waybill dlq redrive --resume" in told.err
    assert "goes on discarding" in told.err
    assert "0 discarded: 2 to be removed" in waybill("dlq", "operations").out
    for verb in (("redrive",), ("discard", "--reason-text", "x")):
        assert "2 are in another operation and are left" in waybill("dlq", *verb).err
        told = waybill("dlq", *verb, "--yes", code=1)
        assert "2 are in another operation and are left" in told.err
        assert told.out == "none of them was moved\n"
    (operation,) = waybill("dlq", "operations", "--json").rows
    assert "2 discarded" in waybill("dlq", "redrive", "--resume", operation["operation"], "--yes").out
    assert waybill.dead() == []


def test_who_cancels_what_somebody_carries_out_is_told_that_it_is_not_over(waybill: Console) -> None:
    waybill.bury("one")
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--canary", "1", "--patience", "0", "--yes", code=1)
    with Index.open("waybill-dlq.db", create=False) as index:
        (operation,) = Operations(index).all()
        with Operations(index).carrying_out(operation):
            told = waybill("dlq", "cancel", operation.id, "--why", "wrong letters")
            assert "is canary" in told.out
            assert "in a minute, cancel it again" in told.err
            (shown,) = waybill("dlq", "operations", "--json").rows
            assert shown["note"] == "asked to end: cancelled by anna: wrong letters"
            assert shown["note"] in waybill("dlq", "operations").out
    told = waybill("dlq", "cancel", operation.id, "--why", "wrong letters")
    assert ("is cancelled" in told.out, "again" in told.err) == (True, False)
    assert waybill("dlq", "operations", "--ended", "--json").rows[0]["note"] == "cancelled by anna: wrong letters"


def test_what_the_broker_moves_itself_is_in_the_audit_and_waits_for_operations(
    waybill: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def move(
        _self: EmbeddedAdapter, _group: Subscription, *, rate: float | None, note: Callable[[int], None]
    ) -> int:
        note(1)
        if rate is not None:
            raise BrokerUnavailable("it does not answer")
        return 2

    waybill.bury("one", "two")
    waybill("dlq", "collect")
    assert "--native" in waybill("dlq", "redrive", "--native", "--yes", code=2).err  # it cannot
    monkeypatch.setattr(EmbeddedAdapter, "move_letters", move, raising=False)
    waybill("dlq", "redrive", "--canary", "1", "--patience", "0", "--yes", code=1)
    (operation,) = waybill("dlq", "operations", "--json").rows
    told = waybill("dlq", "redrive", "--native", "--yes", code=1)
    assert (told.out, operation["operation"] in told.err) == ("", True)
    waybill("dlq", "cancel", operation["operation"])
    waybill("dlq", "redrive", "--native", "--yes", "--by", "eve", "--why", "the bank is back")
    waybill("dlq", "redrive", "--native", "--rate", "5", "--yes", code=1)
    audit = waybill("dlq", "audit", "--json").rows
    assert [(each["by"], each["why"], each["count"]) for each in audit if each["verb"] == "move"] == [
        ("eve", "the bank is back", 2), ("anna", "", 1),
    ]  # fmt: skip


def test_who_and_why_are_refused_where_nobody_keeps_them(waybill: Console) -> None:
    waybill.bury("one")
    waybill("dlq", "export", "--to", "letters.jsonl")
    for verb in (
        ("redrive", "--why", "x"), ("redrive", "--by", "eve", "--native"), ("discard", "--reason-text", "x", "--by", "eve"),
        ("import", "letters.jsonl", "--by", "eve"),
    ):  # fmt: skip
        assert "`waybill dlq collect` makes it" in waybill("dlq", *verb, "--yes", code=2).err
    assert waybill.dead() == ["one"]


def test_of_what_is_named_and_not_reviewed_it_is_told_why(waybill: Console) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--id", "two", "--yes")
    (operation,) = waybill("dlq", "operations", "--json").rows
    told = waybill("dlq", "triage", "one", "two", "--note", "the bank", code=1)
    assert told.out == "orders.placed/billing: 1 triaged\n"
    assert f"two: left as it was, it is pending by operation {operation['operation'][:8]}" in told.err
    told = waybill("dlq", "resolve", "one", "--note", "paid by hand", code=1)  # which the broker still has
    assert "one: left as it was, it is triaged" in told.err
    assert waybill("dlq", "resolve", "--all", "--note", "paid by hand").out == "no dead letter is like that\n"
    assert {row["id"]: row["state"] for row in waybill("dlq", "list", "--json").rows} == {
        "one": "triaged", "two": "pending",
    }  # fmt: skip


def test_a_letter_that_came_back_is_taken_away_from_its_owner(waybill: Console) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "collect")
    waybill("dlq", "assign", "eve", "one")
    waybill("dlq", "redrive", "--id", "one", "--yes")
    waybill.broken.touch()
    waybill.work(1)
    waybill("dlq", "collect")
    assert [row["state"] for row in waybill("dlq", "list", "--owner", "eve", "--json").rows] == ["unresolved"]
    before = len(waybill("dlq", "audit", "--json").rows)
    assert waybill("dlq", "reopen", "--all").out == "orders.placed/billing: 1 unresolved\n"
    assert sorted(row["id"] for row in waybill("dlq", "list", "--owner", "none", "--json").rows) == ["one", "two"]
    assert len(waybill("dlq", "audit", "--json").rows) == before + 1
    waybill("dlq", "reopen", "one", code=1)  # it is already


def test_a_topic_that_is_no_more_keeps_nobody_from_collecting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with console(tmp_path, capsys, monkeypatch) as waybill:
        waybill.bury("one")
        waybill("dlq", "collect")
        waybill("dlq", "redrive", "--to", "refunds/billing", "--yes")
    without, _, _ = SERVICE.replace('refunds = Topic("refunds", OrderPlaced)', "").partition("@app.consume(refunds)")
    with console(tmp_path, capsys, monkeypatch, without) as waybill:
        waybill.bury("two")
        (found,) = waybill("dlq", "collect", "--json").rows
        assert (found["new"], found["resolved"]) == (1, 0)
        (operation,) = waybill("dlq", "operations", "--json").rows
        assert operation["pending"] == 1
        waybill("dlq", "settle", operation["operation"], "--why", "the other service has handled it")
        waybill("dlq", "collect")


def test_each_group_s_letters_are_read_as_what_that_group_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = """
@dataclass
class Other:
    other_id: str

@app.consume(Topic("orders.placed", Other), group="search")
async def search(other: Other) -> None: ...
"""
    with console(tmp_path, capsys, monkeypatch, SERVICE + other) as waybill:
        waybill.bury("one")
        waybill("dlq", "export", "--to", "letters.jsonl")
        waybill("dlq", "import", "letters.jsonl", "--to", "orders.placed/search", "--yes")
        waybill("dlq", "collect")
        plans = waybill("dlq", "redrive", "--json").rows
        assert [(plan["group"], plan["letters"], plan["unfit"]) for plan in plans] == [
            ("billing", 1, 0), ("search", 0, 1),
        ]  # fmt: skip
        (plan,) = waybill("dlq", "redrive", "--group", "billing", "--to", "orders.placed/search", "--json").rows
        assert plan["unfit"] == 1


@pytest.mark.parametrize("indexed", [False, True])
def test_nothing_is_imported_twice_where_not_all_can_be_seen(
    waybill: Console, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "export", "--to", "letters.jsonl")
    if indexed:
        waybill("dlq", "collect")
    browse = FileAdmin.browse

    async def some(self: FileAdmin, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        page = await browse(self, subscription, after=after, limit=limit)
        return msgspec.structs.replace(page, messages=page.messages[:1], complete=False)

    with monkeypatch.context() as held:
        held.setattr(FileAdmin, "browse", some)
        told = waybill("dlq", "import", "letters.jsonl", "--yes", code=1)
        assert "cannot show all of its dead letters" in told.err
        assert "--force" in told.err
    assert waybill.dead() == ["one", "two"]
    assert waybill("dlq", "import", "letters.jsonl", "--yes").out == "orders.placed/billing: 2 there already\n"
    with monkeypatch.context() as held:
        held.setattr(FileAdmin, "browse", some)
        told = waybill("dlq", "import", "letters.jsonl", "--force", "--yes")
        # an index remembers what it has seen
        assert told.out == "orders.placed/billing: " + (
            "2 there already\n" if indexed else "1 brought, 1 there already\n"
        )


def test_a_letter_that_stands_in_a_file_twice_is_brought_once(waybill: Console) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "export", "--to", "letters.jsonl")
    waybill("dlq", "discard", "--reason-text", "x", "--yes")
    twice = Path("letters.jsonl").read_text() * 2
    Path("letters.jsonl").write_text(twice)
    told = waybill("dlq", "import", "letters.jsonl", "--yes")
    assert told.out == "orders.placed/billing: 2 brought, 2 there already\n"
    assert waybill.dead() == ["one", "two"]


@pytest.fixture
def two_groups(waybill: Console) -> Console:
    """`letters.jsonl` has letters of two groups, which have none any more, and there is an index."""
    waybill.bury("one", "two")
    waybill("dlq", "export", "--to", "letters.jsonl")
    letters = Path("letters.jsonl").read_text()
    Path("letters.jsonl").write_text(letters + letters.replace('"orders.placed"', '"refunds"'))
    waybill("dlq", "collect")
    waybill("dlq", "discard", "--reason-text", "x", "--yes")
    return waybill


def test_each_group_s_letters_are_refused_for_a_reason_of_their_own(
    two_groups: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, destination: Destination) -> None:
            self._why = f"{destination.topic.name} is full"

        async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
            return [Refused(self._why, transient=False)] * len(messages)

    def sink(_: EmbeddedAdapter, destination: Destination) -> nullcontext[Full]:
        return nullcontext(Full(destination))

    with monkeypatch.context() as full:
        full.setattr(EmbeddedAdapter, "sink", sink)
        told = two_groups("dlq", "import", "letters.jsonl", "--yes", code=1)
    assert told.lines == [
        "orders.placed/billing: 2 refused (orders.placed is full)", "refunds/billing: 2 refused (refunds is full)",
    ]  # fmt: skip


@pytest.mark.parametrize("end", [BrokerUnavailable("it does not answer"), KeyboardInterrupt()])
def test_an_import_that_is_cut_short_is_in_the_audit(
    two_groups: Console, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    sink = EmbeddedAdapter.sink

    def failing(self: EmbeddedAdapter, destination: Destination) -> object:
        if destination.topic.name == "refunds":
            raise end
        return sink(self, destination)

    with monkeypatch.context() as cut:
        cut.setattr(EmbeddedAdapter, "sink", failing)
        told = two_groups("dlq", "import", "letters.jsonl", "--yes", "--by", "eve", code=1)
    assert "orders.placed/billing: 2 brought" in told.out
    audit = two_groups("dlq", "audit", "--json").rows
    lines = [(each["topic"], each["by"], each["count"], each["why"]) for each in audit if each["verb"] == "import"]
    why = "cut short: what was under way may be there as well"
    assert sorted(lines) == [("orders.placed", "eve", 2, why), ("refunds", "eve", 0, why)]


def test_each_group_s_letters_are_remembered_as_long_as_its_own_rules_say(
    waybill: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("policy.toml").write_text(
        '[default]\nservice_level = "0.1s"\nretention = "30d"\n\n["orders.*"]\nretention = "0.1s"\n'
    )
    monkeypatch.setenv("WAYBILL_DLQ_POLICY", "policy.toml")
    waybill.bury("one")
    waybill("dlq", "collect")
    waybill("dlq", "discard", "--reason-text", "too late", "--yes")
    end = time.monotonic() + 10
    while waybill("dlq", "list", "--state", "any", "--json").rows:
        assert time.monotonic() < end
        waybill("dlq", "collect")
    assert [entry["why"] for entry in waybill("dlq", "audit", "--id", "on", "--json").rows][-1] == "too late"
    assert "begins with 'two'" in waybill("dlq", "audit", "--id", "two", code=1).err


def test_one_group_that_cannot_be_looked_at_keeps_nobody_from_the_others(
    waybill: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    waybill("topology", "apply")
    browse, turns = FileAdmin.browse, Counter[str]()

    async def failing(self: FileAdmin, subscription: Subscription, *, after: str | None = None, limit: int = 9) -> Page:
        turns[subscription.topic.name] += 1
        if turns["orders.placed"] > 3:
            raise KeyboardInterrupt
        if subscription.topic.name == "orders.placed":
            raise DestinationMissing("orders.placed/billing is not there")
        return await browse(self, subscription, after=after, limit=limit)

    monkeypatch.setattr(FileAdmin, "browse", failing)
    told = waybill("dlq", "collect", "--json", code=1)
    assert ([row["topic"] for row in told.rows], "is not there" in told.err) == (["refunds"], True)
    told = waybill("dlq", "collect", "--every", "0.1", "--json")
    assert [json.loads(line)["topic"] for line in told.lines] == ["refunds"] * 2
    assert told.err.count("is not there") == 2


def test_what_is_wrong_with_each_group_is_told(waybill: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    waybill("topology", "apply")

    async def failing(_: FileAdmin, subscription: Subscription, *, after: str | None = None, limit: int = 9) -> Page:
        raise DestinationMissing(f"{subscription.name} is not there")

    monkeypatch.setattr(FileAdmin, "browse", failing)
    told = waybill("dlq", "collect", code=1)
    for name in ("orders.placed/billing", "refunds/billing"):
        assert f"{name} is not there" in told.err
