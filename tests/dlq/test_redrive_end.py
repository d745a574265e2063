"""How operations end: where nobody tells what became of what was sent, by hand; and of many letters, some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from waybill import ConfigurationError
from waybill.adapter import Adapter
from waybill.deadletters import fingerprint
from waybill.dlq.editing import edit
from waybill.dlq.index import Index
from waybill.dlq.model import Action, Query, State
from waybill.dlq.operation import Operation, Step
from waybill.dlq.operations import Operations, Told
from waybill.dlq.settling import settle
from waybill.dlq.watching import see

from .between import Between
from .console import Console, console
from .desk import desk, eventually, letter

NOBODY = Action(by="collect")


@pytest.fixture
def waybill(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    with console(tmp_path, capsys, monkeypatch) as made:
        yield made


def test_what_is_pending_is_settled_by_hand_with_a_reason(waybill: Console) -> None:
    waybill.bury("one", "two")
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--yes")
    (operation,) = waybill("dlq", "operations", "--json").rows
    ident = operation["operation"]
    assert operation["state"] == "pending"
    assert "waybill dlq settle" in waybill("dlq", "cancel", ident).err, "there is nothing to end any more"
    assert "is done: 2 redriven: 2 resolved" in waybill("dlq", "settle", ident[:6], "--why", "the ledger has all").out
    assert waybill("dlq", "operations", "--json").rows == []
    (ended,) = waybill("dlq", "operations", "--ended", "--json").rows
    assert (ended["state"], ended["pending"]) == ("done", 0)
    settled = [
        row for row in waybill("dlq", "audit", "--operation", ident, "--json").rows if row["after"] == "resolved"
    ]
    assert {(row["by"], row["why"]) for row in settled} == {("anna", "the ledger has all")}
    assert "is done" in waybill("dlq", "settle", ident[:6], "--why", "twice is as once").out


async def test_what_has_come_back_is_not_settled_as_handled(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"), letter("m3"))
        operation = it.begin()
        await it.run(operation)
        it.operations.tell([Told(operation.id, "m1", handled=False, fingerprint="x")])
        await it.bury(letter("m2", redrives=1))
        settled = settle(it.operations, operation, by="grace", why="nobody tells")
        progress = it.operations.progress(operation)
        assert (settled.state, progress.came_back, progress.resolved) == ("done", 2, 1)
        assert it.states() == {"m1": State.PENDING, "m2": State.UNRESOLVED, "m3": State.RESOLVED}


async def test_what_an_ended_operation_had_sent_is_settled_as_well(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        operation = it.begin(canary=1, patience=0.0)
        await it.run(operation)
        with pytest.raises(ConfigurationError, match="is canary: let it send the rest"):
            settle(it.operations, operation, by="grace", why="nobody tells")
        it.operations.cancel(operation, by="grace", why="")
        with pytest.raises(ConfigurationError, match="say why"):
            settle(it.operations, operation, by="grace", why=" ")
        assert settle(it.operations, operation, by="grace", why="nobody tells").state == "cancelled"
        assert sorted(it.states().values()) == [State.RESOLVED, State.UNRESOLVED]
        assert not it.operations.undecided()


async def test_one_that_came_back_and_was_gone_before_anybody_looked_is_archived(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        operation = it.begin()
        await it.run(operation)
        it.operations.tell([Told(operation.id, "m1", handled=False, fingerprint="x")])
        it.operations.heed(operation)
        await it.collect()
        assert it.states() == {"m1": State.ARCHIVED, "m2": State.PENDING}


async def test_others_write_to_the_index_while_many_letters_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waybill.dlq.operations.PAGE", 2)
    monkeypatch.setattr("waybill.dlq.database.PATIENCE", 0.1)
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n}") for n in range(6)))
        operation = it.begin()
        it.operations.claim(operation, it.operations.index.page(Query()).letters)
        written: list[int] = []
        with Index.open(it.path) as another:

            class Slow(Operations):
                def mark(self, operation: Operation, ids: Sequence[str], *step: Any, **more: Any) -> None:
                    super().mark(operation, ids, *step, **more)
                    another.note("collect", NOBODY, now=datetime.now(UTC))
                    written.append(len(ids))
                    with pytest.raises(ConfigurationError, match="is carried out by process"):
                        Operations(another).carrying_out(operation).__enter__()

            cancelled = Slow(it.operations.index).cancel(operation, by="grace", why="")
        assert (cancelled.state, written) == ("cancelled", [2, 2, 2])
        assert set(it.states().values()) == {State.UNRESOLVED}


async def test_the_loop_goes_on_while_many_letters_are_given_back(tmp_path: Path) -> None:
    looped: list[bool] = []

    class Seen(Operations):
        def mark(
            self, operation: Operation, ids: Sequence[str], step: Step, *, cause: str = "", alike: bool = False
        ) -> Sequence[str]:
            if step == "freed":
                with suppress(RuntimeError):
                    looped.append(asyncio.get_running_loop().is_running())
            return super().mark(operation, ids, step, cause=cause, alike=alike)

    async with desk(tmp_path, tells=True) as it:
        await it.bury(*(letter(f"m{n}") for n in range(6)))
        it.operations = Seen(it.operations.index)
        it.fails = lambda _: True
        async with it.app().running():
            outcome = await it.run(it.begin(canary=1))
        assert (outcome.operation.state, outcome.progress.freed) == ("aborted", 5)
        assert looped == []


async def test_one_whose_cancelling_was_killed_ends_when_it_is_gone_on_with(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        with it.operations.index.database.writing() as connection:
            connection.execute("UPDATE operation SET stop = 'cancelled by grace'")
        outcome = await it.run(operation)
        assert (outcome.operation.state, outcome.operation.note) == ("cancelled", "cancelled by grace")
        assert len(await it.dead()) == 1
        assert set(it.states().values()) == {State.UNRESOLVED}


async def test_a_cancel_that_came_when_all_was_sent_is_too_late(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        await it.run(operation)
        with it.operations.index.database.writing() as connection:
            connection.execute("UPDATE operation SET stop = 'cancelled by grace'")
        outcome = await it.run(operation)
        assert (outcome.operation.state, outcome.progress.pending) == ("pending", 1)


def test_what_is_gone_on_with_may_have_another_rate_and_nothing_else(waybill: Console) -> None:
    waybill.bury(*(f"letter-{number}" for number in range(10)))
    waybill("dlq", "collect")
    waybill("dlq", "redrive", "--canary", "2", "--patience", "0", "--abort-above", "0.5", "--yes", code=1)
    (operation,) = waybill("dlq", "operations", "--json").rows
    resume = ("dlq", "redrive", "--resume", operation["operation"], "--yes")
    for words in (("--limit", "1"), ("--why", "x"), ("--by", "eve"), ("--canary", "1"), ("--force",)):
        assert "leave the other options out" in waybill(*resume, *words, code=2).err, words
    assert "--resume" in waybill("dlq", "redrive", "--past-canary", code=2).err
    waybill.broken.touch()
    waybill.work(2)
    told = waybill(*resume, "--abort-above", "1", "--rate", "1000", "--patience", "0", "--json").rows[0]
    assert (told["state"], told["came_back"], told["pending"]) == ("pending", 2, 8)


def test_what_only_an_operation_has_needs_an_index(waybill: Console) -> None:
    waybill.bury("one")
    for words in (("--patience", "1"), ("--abort-above", "0.5"), ("--canary", "1")):
        assert "need the index" in waybill("dlq", "redrive", *words, code=2).err, words


async def test_an_operation_is_forgotten_with_all_it_kept_when_its_letters_are(tmp_path: Path) -> None:
    def bodies() -> int:
        with it.operations.index.database.reading() as connection:
            number: int = connection.execute("SELECT count(*) FROM move WHERE copy IS NOT NULL").fetchone()[0]
        return number

    def kept() -> list[str]:
        return [each.id for each in it.operations.all(ended=True)]

    async with desk(tmp_path) as it:
        index = it.operations.index
        await it.bury(letter("m1"), letter("m2"), letter("m3"))
        edited = edit(it.operations, it.group, "m1", body=b'"mended body"', by="ada", why="typo")
        await it.run(edited)
        redriven = it.begin(Query(ids=("m2",)))
        await it.run(redriven)
        cancelled = it.begin(Query(ids=("m3",)))
        it.operations.cancel(cancelled, by="ada", why="")
        settle(it.operations, edited, by="ada", why="the ledger has it")
        await it.collect()
        assert bodies()
        before = datetime.now(UTC) - timedelta(hours=1)
        assert index.forget("things", "billing", before=before) == 0, "not yet"
        while index.forget("things", "billing", before=datetime.now(UTC), limit=1):
            pass
        assert kept() == [redriven.id], "of its letter nobody knows yet what has become"
        assert it.states() == {"m2": State.PENDING, "m3": State.UNRESOLVED}
        assert not bodies()
        assert index.audit(operation=edited.id)
        it.operations.tell([Told(redriven.id, "m2", handled=False, fingerprint="x")])
        settle(it.operations, redriven, by="ada", why="the ledger has it")
        assert index.forget("things", "billing", before=datetime.now(UTC)) == 0, "it came back, and was not seen yet"
        await it.collect()
        while index.forget("things", "billing", before=datetime.now(UTC)):
            pass
        assert (kept(), list(it.states())) == ([], ["m3"])


async def test_several_operations_are_decided_by_one_look(tmp_path: Path) -> None:
    class Blind:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"the broker is asked once more: {name}")

    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"), letter("m3"))
        first, second = it.begin(Query(ids=("m1", "m2"))), it.begin(Query(ids=("m3",)))
        await it.run(first)
        await it.run(second)
        it.fails = lambda message: message.id == "m2"
        async with it.app().running():
            await eventually(it.dead, len)
            await eventually(it.waiting, lambda waiting: not waiting)
        seen = await see(it.adapter.admin, it.group, it.operations.index)
        it.adapter = cast("Adapter", Between(it.adapter, admin=Blind()))
        progress = [await it.decided(operation, seen=seen) for operation in (first, second)]
        assert [(each.resolved, each.came_back) for each in progress] == [(1, 1), (1, 0)]


async def test_what_fails_as_before_is_known_also_of_a_letter_whose_record_a_broker_has_made(tmp_path: Path) -> None:
    made = letter("m1")
    assert made.dead is not None
    plain = msgspec.structs.replace(made, dead=msgspec.structs.replace(made.dead, fingerprint=""))
    async with desk(tmp_path) as it:
        await it.bury(plain)
        operation = it.begin()
        await it.run(operation)
        before = fingerprint(made.dead.error or "", made.dead.frame, made.type)
        it.operations.tell([Told(operation.id, "m1", handled=False, fingerprint=before)])
        it.operations.heed(operation)
        assert it.operations.progress(operation).alike == 1
