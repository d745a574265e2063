"""Operations carried out: claimed, sent, watched, ended; and what they leave behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from waybill import ConfigurationError, Delivery, Message, Status
from waybill.dlq.brakes import circuits
from waybill.dlq.editing import edit
from waybill.dlq.index import Index
from waybill.dlq.model import Query
from waybill.dlq.model import State as Review
from waybill.dlq.operation import Progress
from waybill.dlq.operations import Operations, Told
from waybill.dlq.telling import Tells
from waybill.observing import Handled
from waybill.ops.folder import Folder
from waybill.ops.state import Circuit, State
from waybill.outcomes import ACK, DONE
from waybill.topology import Destination

from .desk import desk, eventually, ids, letter


async def test_from_the_claim_to_resolved_with_a_line_for_each_step(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n}", headers={"tenant": "north"}) for n in range(5)))
        operation = it.begin()
        outcome = await it.run(operation)
        assert outcome.whole
        assert (outcome.operation.state, outcome.progress.pending) == ("pending", 5)
        assert await it.dead() == []
        assert await it.waiting("shipping") == 0
        assert set(it.states().values()) == {Review.PENDING}
        async with it.app().running():
            progress = await it.decided(operation)
        assert (progress.resolved, progress.came_back, progress.repeated) == (5, 0, 0)
        assert it.operations.get(operation.id).state == "done"
        assert set(it.states().values()) == {Review.RESOLVED}
        assert ids(it.handled) == [f"m{n}" for n in range(5)]
        for message in it.handled:
            assert (message.redrive, message.redrives, dict(message.headers)) == (operation.id, 1, {"tenant": "north"})
        told = [(e.verb, e.by, e.why) for e in reversed(it.operations.index.audit(key=it.key("m0"), limit=10))]
        assert told == [
            ("claim", "ada", "it is mended"),
            ("pending", "ada", "it is mended"),
            ("resolved", "ada", "it is mended"),
        ]


async def test_a_letter_belongs_to_one_operation(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n}") for n in range(10)))
        both = [it.begin(), it.begin()]
        await asyncio.gather(*(it.run(each) for each in both))
        assert sum(it.operations.progress(each).pending for each in both) == 10
        assert await it.waiting() == 10


async def test_what_fails_alike_ends_a_canary_and_nothing_more_is_sent(tmp_path: Path) -> None:
    async with desk(tmp_path, tells=True) as it:
        await it.bury(*(letter(f"m{n:02}") for n in range(30)))
        it.fails = lambda _: True
        operation = it.begin(canary=3)
        async with it.app().running():
            outcome = await it.run(operation)
        assert outcome.operation.state == "aborted"
        assert "3 of 3 came back" in outcome.operation.note
        assert (outcome.progress.came_back, outcome.progress.freed) == (3, 27)
        assert len(await it.dead()) == 30
        await it.collect()
        assert set(it.states().values()) == {Review.UNRESOLVED}
        with pytest.raises(ConfigurationError, match="aborted"):
            await it.run(operation)


async def test_a_canary_that_is_handled_lets_the_others_go(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n:02}") for n in range(30)))
        said: list[str] = []
        async with it.app().running():
            operation = it.begin(canary=3)
            await it.run(operation, on_progress=lambda _, what: said.append(what))
            progress = await it.decided(operation)
        assert progress.resolved == 30
        assert len(it.handled) == 30
        assert said[-1] in {"pending", "done"}


async def test_a_canary_of_which_nobody_knows_stands_still_and_goes_on_when_told(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n:02}") for n in range(6)))
        operation = it.begin(canary=2, patience=0.0)
        outcome = await it.run(operation)  # nobody consumes
        assert outcome.operation.state == "canary"
        assert "what became of 2 of the canary" in outcome.waits
        assert it.operations.get(operation.id).note == outcome.waits
        assert len(await it.dead()) == 4
        outcome = await it.run(operation, past_canary=True)
        assert outcome.operation.state == "pending"
        assert await it.dead() == []


async def test_too_many_that_come_back_end_it_on_the_way(tmp_path: Path) -> None:
    async with desk(tmp_path, tells=True) as it:
        await it.bury(*(letter(f"m{n:03}") for n in range(200)))
        it.fails = lambda _: True
        operation = it.begin(rate=60.0)
        async with it.app().running():
            outcome = await it.run(operation)
        assert outcome.operation.state == "aborted"
        assert 0 < outcome.progress.moved < 200
        assert outcome.progress.alike == 0, "the test's own record has another fingerprint than what fails here"
        assert outcome.progress.freed == 200 - outcome.progress.moved


async def test_it_pauses_while_a_brake_says_so(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n}") for n in range(4)))
        asked: list[int] = []

        async def brake() -> str | None:
            asked.append(1)
            return "the circuit bank is open" if len(asked) < 3 else None

        said: list[str] = []
        outcome = await it.run(it.begin(), brakes=[brake], on_progress=lambda _, what: said.append(what))
        assert outcome.whole
        assert said.count("the circuit bank is open") == 2


async def test_it_pauses_while_a_circuit_of_its_group_is_open(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        folder, now = Folder(tmp_path / "status"), time.time()
        bank = Circuit(name="bank", state="open", groups=["things/billing"])
        mail = Circuit(name="mail", state="open", groups=["things/shipping"])
        state = State(
            app="billing", host="h", pid=1, stage="running", status=Status.DEGRADED, live=True, ready=True,
            circuits=[bank, mail], began=now, written=now,
        )  # fmt: skip
        folder.write(state)
        said: list[str] = []

        def note(_: Progress, what: str) -> None:
            said.append(what)
            closed = msgspec.structs.replace(bank, state="closed")
            folder.write(msgspec.structs.replace(state, circuits=[closed, mail]))

        outcome = await it.run(it.begin(), brakes=[circuits(folder.path, "things/billing")], on_progress=note)
        assert outcome.whole
        assert said[0] == "the circuit bank is open"
        assert await circuits(tmp_path / "nowhere", "things/billing")() is None
        folder.write(msgspec.structs.replace(state, circuits=[msgspec.structs.replace(bank, state="half-open")]))
        assert await circuits(folder.path, "things/billing")() is None, "a letter may be what it waits for to close"


async def test_it_keeps_no_more_ahead_of_the_group_than_is_asked_for(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n:02}") for n in range(40)))
        operation = it.begin(ahead=5, rate=1000.0)
        running = asyncio.create_task(it.run(operation))
        await eventually(it.waiting, lambda waiting: waiting >= 5)
        assert await it.waiting() == 5
        assert not running.done()
        most = 0
        async with it.app().running():
            while not running.done():
                most = max(most, int(await it.waiting()))
                await asyncio.sleep(0.01)
            assert (await running).whole
            assert most < 10
            assert (await it.decided(operation)).resolved == 40


async def test_cancelled_by_somebody_else_it_ends_and_gives_back_the_rest(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n:02}") for n in range(50)))
        operation = it.begin(rate=20.0)
        running = asyncio.create_task(it.run(operation))
        await eventually(it.waiting, lambda waiting: waiting >= 1)
        with pytest.raises(ConfigurationError, match="is carried out by process"):
            await it.run(operation)
        assert it.operations.cancel(operation, by="grace", why="wrong group").state == "running"
        outcome = await running
        assert (outcome.operation.state, outcome.operation.note) == ("cancelled", "cancelled by grace: wrong group")
        sent = outcome.progress.pending
        assert 0 < sent < 50
        assert len(await it.dead()) == outcome.progress.freed == 50 - sent
        assert it.operations.cancel(operation, by="grace", why="").state == "cancelled"
        assert [each.id for each in it.operations.undecided()] == [operation.id]
        async with it.app().running():
            assert (await it.decided(operation)).resolved == sent
        assert not it.operations.undecided()


async def test_cancelled_while_nobody_carries_it_out(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        it.operations.claim(operation, it.operations.index.find("m1"))
        assert it.operations.cancel(operation, by="grace", why="").state == "cancelled"
        assert it.states() == {"m1": Review.UNRESOLVED}


async def test_to_another_group_or_topic(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        with pytest.raises(ConfigurationError, match="give that destination"):
            await it.run(it.begin(to="things/shipping"))
        place = it.adapter, Destination("group", it.topic.spec, "shipping")
        outcome = await it.run(it.begin(Query(ids=("m1",)), to="things/shipping"), to=place)
        assert outcome.whole
        assert (await it.waiting(), await it.waiting("shipping")) == (0, 1)
        outcome = await it.run(
            it.begin(Query(ids=("m2",)), to="things"), to=(it.adapter, Destination("topic", it.topic.spec))
        )
        assert (outcome.operation.state, outcome.progress.resolved) == ("done", 1)
        assert (await it.waiting(), await it.waiting("shipping")) == (1, 2)


async def test_discarding_is_an_operation_with_a_reason_for_each_letter(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"), letter("m3", redrives=9))
        with pytest.raises(ConfigurationError, match="say why"):
            it.operations.begin("discard", it.group, Query(), it.begin().orders, by="ada", why=" ")
        outcome = await it.run(it.begin(Query(ids=("m1", "m3")), verb="discard", force=True))
        assert (outcome.operation.state, outcome.progress.discarded, outcome.progress.cause) == ("done", 2, "")
        assert ids(await it.dead()) == ["m2"]
        assert it.states() == {"m1": Review.DISCARDED, "m2": Review.UNRESOLVED, "m3": Review.DISCARDED}
        (entry, *_) = it.operations.index.audit(key=it.key("m1"))
        assert (entry.verb, entry.by, entry.why) == ("discarded", "ada", "it is mended")


async def test_a_mended_copy_has_a_new_id_and_names_the_letter(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1", body=b'"brokn"', correlation_id="c", key="k", headers={"a": "1"}))
        with pytest.raises(ConfigurationError, match="nothing is changed"):
            edit(it.operations, it.group, "m1", body=b'"brokn"', by="ada", why="a typo")
        operation = edit(it.operations, it.group, "m1", body=b'"broken"', by="ada", why="a typo")
        with pytest.raises(ConfigurationError, match="another operation"):
            edit(it.operations, it.group, "m1", body=b'"other"', by="grace", why="the same typo")
        assert [each.id for each in it.operations.all()] == [operation.id], "a refused edit leaves no operation"
        async with it.app().running():
            await it.run(operation)
            progress = await it.decided(operation)
        assert progress.resolved == 1
        (found,) = it.handled
        assert found.id != "m1"
        assert (found.edit_of, found.body, found.redrive, found.redrives) == ("m1", b'"broken"', operation.id, 1)
        assert (found.correlation_id, found.key, dict(found.headers)) == ("c", "k", {"a": "1"})
        assert it.states()["m1"] == Review.RESOLVED


async def test_operations_are_found_by_the_beginning_of_their_ids(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        first, second = it.begin(), it.begin()
        assert it.operations.get(first.id[:20]) == first
        assert [each.id for each in it.operations.all()] == [second.id, first.id]
        it.operations.cancel(second, by="ada", why="")
        assert [each.id for each in it.operations.all()] == [first.id]
        assert [each.id for each in it.operations.all(ended=True)] == [second.id, first.id]
        with pytest.raises(ConfigurationError, match="no operation"):
            it.operations.get("nothing")
        begun = {it.begin().id[0] for _ in range(17)}  # of sixteen digits: some two begin alike
        alike = [first for first in begun if sum(each.id[0] == first for each in it.operations.all(ended=True)) > 1]
        with pytest.raises(ConfigurationError, match="several"):
            it.operations.get(alike[0])


async def test_only_states_that_can_be_claimed_are_claimed_and_no_others_instead(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        resolved = Query(states=frozenset({Review.RESOLVED}))
        assert (await it.plan(resolved)).found == 0
        outcome = await it.run(it.begin(resolved))
        assert outcome.progress.total == 0
        assert ids(await it.dead()) == ["m1"]


async def test_what_is_told_while_the_index_is_being_written_to_is_told_next(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        operation = it.begin()
        await it.run(operation)
        tells = Tells(it.path)
        write, writing, second = tells._tell, threading.Event(), threading.Event()

        def slow(told: Sequence[Told]) -> bool:
            writing.set()
            return second.wait(20) and write(told)

        tells._tell = slow  # type: ignore[method-assign]
        tells.started(it.app())
        tells.handled(handled(letter("m1", redrive=operation.id)))
        await eventually(lambda: asyncio.sleep(0, writing.is_set()), bool)
        tells.handled(handled(letter("m2", redrive=operation.id)))
        second.set()

        async def told() -> Progress:
            await asyncio.to_thread(it.operations.heed, operation)
            return it.operations.progress(operation)

        await eventually(told, lambda progress: progress.resolved == 2)
        tells.stopped()


def handled(message: Message) -> Handled:
    delivery = Delivery(message=message, topic="things", group="billing", token=None)
    return Handled(delivery=delivery, settlement=ACK, result=DONE)


def test_what_nobody_will_ask_for_is_not_kept(tmp_path: Path) -> None:
    with Index.open(tmp_path / "dlq.db") as index:
        operations = Operations(index)
        operations.tell([Told("a redrive without an index", "m1", handled=True, fingerprint="")])
        with index.database.reading() as connection:
            assert connection.execute("SELECT count(*) FROM told").fetchone() == (0,)


async def test_what_was_heeded_is_forgotten(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        await it.run(operation)
        told = Told(operation.id, "m1", handled=True, fingerprint="")
        it.operations.tell([told])
        it.operations.heed(operation)
        assert it.operations.progress(operation).resolved == 1
        it.operations.tell([told])  # of a second copy
        with it.operations.index.database.reading() as connection:
            assert connection.execute("SELECT count(*) FROM told").fetchone() == (0,)
