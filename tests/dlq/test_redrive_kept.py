"""Whatever happens to an operation, each of its letters is a dead letter still or its copy is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from waybill import ConfigurationError, Topic
from waybill.adapter import Adapter, Admin, Page
from waybill.dlq import carrying
from waybill.dlq.index import Index
from waybill.dlq.model import Query, State
from waybill.dlq.operation import Orders, Step
from waybill.dlq.operations import Operations, Told
from waybill.message import Message
from waybill.outcomes import ACK, DONE, RELEASE, Failed, Settled, SettleResult
from waybill.pace import BATCH
from waybill.topology import Backlog, Count, Destination, Exactness, Subscription

from .between import Between, Sends
from .desk import Desk, desk, ids, letter


def taken_for_dead(it: Desk, do: Any) -> None:
    """After the first send the sign of life is old, as of a process that was suspended, and another one does that."""
    done: list[bool] = []

    def then(_: Sequence[Message]) -> None:
        if done:
            return
        done.append(True)
        with Index.open(it.path) as index:
            with index.database.writing() as connection:
                connection.execute("UPDATE operation SET beat = beat - 61")
            do(Operations(index))

    it.adapter = cast("Adapter", Between(it.adapter, sink=lambda sink: Sends(sink, then)))


async def test_who_was_taken_for_dead_sends_and_removes_nothing_more(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n:02}") for n in range(30)))
        real, operation = it.adapter, it.begin(rate=100.0)  # ten at a time
        taken_for_dead(it, lambda others: others.cancel(operation, by="grace", why="it hangs"))
        with pytest.raises(ConfigurationError, match="no longer carried out by this process"):
            await it.run(operation)
        it.adapter = real
        assert (await it.waiting(), len(await it.dead())) == (10, 20)
        assert it.operations.get(operation.id).state == "cancelled"
        await it.collect()
        assert sum(state is State.UNRESOLVED for state in it.states().values()) == 20


async def test_two_of_one_host_name_and_process_number_do_not_both_carry_it_out(tmp_path: Path) -> None:
    """As two containers may be."""
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n:02}") for n in range(30)))
        real, operation = it.adapter, it.begin(rate=100.0)

        def begin(others: Operations) -> None:
            with others.index.database.writing() as connection:
                carrying.begin(connection, operation.id)

        taken_for_dead(it, begin)
        with pytest.raises(ConfigurationError, match="no longer carried out by this process"):
            await it.run(operation)
        it.adapter = real
        assert (await it.waiting(), len(await it.dead())) == (10, 20)
        with pytest.raises(ConfigurationError, match="is carried out by process"):
            await it.run(operation)


async def test_what_an_operation_gave_back_meanwhile_is_not_discarded(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n}") for n in range(3)))
        operation = it.begin(verb="discard", rate=20.0)

        async def brake() -> None:
            with it.operations.index.database.writing() as connection:
                connection.execute("UPDATE operation SET beat = beat - 61")
            it.operations.cancel(operation, by="grace", why="")

        with pytest.raises(ConfigurationError, match="no longer carried out by this process"):
            await it.run(operation, brakes=[brake])
        assert ids(await it.dead()) == ["m0", "m1", "m2"]


async def test_a_refused_letter_with_an_empty_key_holds_back_none_without_one(tmp_path: Path) -> None:
    async with desk(tmp_path, ordered=True) as it:
        await it.bury(letter("m0", key=""), *(letter(f"k{n}") for n in range(3)))
        real, it.adapter = it.adapter, cast("Adapter", Between(it.adapter, send="m0"))
        outcome = await it.run(it.begin(rate=10.0))  # one at a time
        it.adapter = real
        assert (outcome.progress.pending, outcome.progress.left) == (3, 1)
        assert (await it.waiting(), ids(await it.dead())) == (3, ["m0"])


async def test_a_letter_that_the_other_group_had_before_has_not_come_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        shipping = Destination("group", it.topic.spec, "shipping")
        before = [
            msgspec.structs.replace(message, redrives=2, dead=msgspec.structs.replace(message.dead, group="shipping"))
            for message in await it.dead()
        ]
        async with it.adapter.sink(Destination("dead", it.topic.spec, "shipping")) as sink:
            await sink.send(before, deadline=time.monotonic() + 30)
        operation = it.begin(to="things/shipping", canary=1, patience=0.0)
        outcome = await it.run(operation, to=(it.adapter, shipping))
        assert (outcome.operation.state, outcome.progress.pending, outcome.progress.came_back) == ("canary", 1, 0)
        async with it.app("shipping", group="shipping").running():
            outcome = await it.run(operation, to=(it.adapter, shipping), past_canary=True)
            progress = await it.decided(operation, to=(it.adapter, shipping))
        assert (progress.resolved, progress.came_back) == (2, 0)


class Short:
    """Shows the first dead letter and says that there are more, as a broker does that has more than one look can show."""

    def __init__(self, inner: Admin, count: Callable[[Count], Count] = lambda dead: dead) -> None:
        self._inner, self._count = inner, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def backlog(self, subscription: Subscription) -> Backlog:
        backlog = await self._inner.backlog(subscription)
        return msgspec.structs.replace(backlog, dead=self._count(backlog.dead))

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        page = await self._inner.browse(subscription, after=after, limit=limit)
        return Page(page.messages[:1], complete=False)


async def test_one_that_is_gone_is_known_to_be_where_the_broker_cannot_show_them_all(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n}") for n in range(5)))
        operation = it.begin(Query(ids=("m0", "m1")))
        it.operations.claim(operation, it.operations.index.page(Query(ids=("m0", "m1"))).letters)
        async with it.adapter.dead_letters(it.group) as source:
            taken = await source.receive(10)
            await source.settle([Settled(d, ACK if d.message.id == "m0" else RELEASE) for d in taken])
        it.adapter = cast("Adapter", Between(it.adapter, admin=Short(it.adapter.admin)))
        outcome = await it.run(operation)
        assert (outcome.operation.state, outcome.progress.pending, outcome.progress.gone) == ("pending", 1, 1)
        assert outcome.waits == ""


@pytest.mark.parametrize("verb", ["redrive", "discard"])
async def test_what_somebody_else_holds_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr("waybill.dlq.sending.REST", 0.01)
    monkeypatch.setattr("waybill.dlq.sending.SPARE", -29.5)  # of a lease of 30 seconds
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n}") for n in range(3)))
        operation = it.begin(verb=verb)
        real = it.adapter
        async with (
            it.app("other").connected() as brokers,
            brokers.of(it.topic.spec).dead_letters(it.group) as source,
        ):
            held = await source.receive(2)
            few = Short(real.admin, lambda dead: Count((dead.value or 0) - len(held), Exactness.AT_LEAST))
            it.adapter = cast("Adapter", Between(real, admin=few))
            outcome = await it.run(operation)
            assert (outcome.progress.claimed, outcome.progress.moved, outcome.progress.gone) == (2, 1, 0)
            assert outcome.waits == "the broker could not show all dead letters: others hold some"
            await source.settle([Settled(delivery, RELEASE) for delivery in held])
        it.adapter = real
        outcome = await it.run(operation)
        assert (outcome.progress.moved, outcome.progress.open, await it.dead()) == (3, 0, [])


async def test_a_broker_that_knows_only_about_how_many_there_are_has_to_say_it_several_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waybill.dlq.sending.REST", 0.01)
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n}") for n in range(3)))
        operation = it.begin(Query(ids=("m0",)))
        it.operations.claim(operation, it.operations.index.page(Query(ids=("m0",))).letters)
        async with it.adapter.dead_letters(it.group) as source:
            taken = await source.receive(10)
            await source.settle([Settled(d, ACK if d.message.id == "m0" else RELEASE) for d in taken])
        told: list[float] = []

        def about(dead: Count) -> Count:
            told.append(3 if len(told) in {1, 2} else dead.value or 0)
            return Count(told[-1], Exactness.APPROXIMATE)

        it.adapter = cast("Adapter", Between(it.adapter, admin=Short(it.adapter.admin, about)))
        outcome = await it.run(operation)
        assert (outcome.progress.gone, outcome.waits) == (1, "")
        assert len(told) >= 6, "once it said 2, then 3, and then 2 three times"


async def test_nothing_more_is_sent_once_what_was_sent_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waybill.taking.back_off", lambda _: 0.0)

    async def full(settled: Sequence[Settled]) -> Sequence[SettleResult]:
        return [Failed("its note is full") if item.settlement is ACK else DONE for item in settled]

    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n:02}") for n in range(30)))
        real, it.adapter = it.adapter, cast("Adapter", Between(it.adapter, settle=full))
        outcome = await it.run(it.begin(rate=100.0))  # ten at a time
        it.adapter = real
        assert outcome.waits == "what was sent cannot be removed: its note is full"
        assert (outcome.progress.sent, outcome.progress.claimed, await it.waiting()) == (10, 20, 10)


async def test_no_more_is_discarded_once_it_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waybill.taking.back_off", lambda _: 0.0)

    async def full(settled: Sequence[Settled]) -> Sequence[SettleResult]:
        return [Failed("its note is full") for _ in settled]

    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        real, it.adapter = it.adapter, cast("Adapter", Between(it.adapter, settle=full))
        outcome = await it.run(it.begin(verb="discard"))
        it.adapter = real
        assert outcome.waits == "what is to go cannot be removed: its note is full"
        assert (outcome.progress.claimed, len(await it.dead())) == (2, 2)


async def test_it_ends_between_two_sends_as_if_each_had_been_written_down_at_once(tmp_path: Path) -> None:
    """The letters that were removed are written down while the next are sent, which are taken while these are."""
    async with desk(tmp_path) as it:
        await it.bury(*(letter(f"m{n:03}") for n in range(600)))
        real, operation = it.adapter, it.begin(ahead=1000)

        def then(sent: Sequence[Message]) -> None:
            back = [message.id for message in sent][:200]
            it.operations.tell([Told(operation.id, ident, handled=False, fingerprint="") for ident in back])

        it.adapter = cast("Adapter", Between(it.adapter, sink=lambda sink: Sends(sink, then)))
        outcome = await it.run(operation)
        it.adapter = real
        assert (outcome.operation.state, outcome.operation.note) == ("aborted", "200 of 500 came back")
        progress = outcome.progress
        assert (progress.pending, progress.came_back, progress.freed, progress.left) == (300, 200, 100, 0)
        async with it.adapter.dead_letters(it.group) as source:
            assert len(await source.receive(1000)) == 100


def test_a_step_costs_no_more_where_many_wait_for_it(tmp_path: Path) -> None:
    def cost(count: int) -> int:
        """In hundreds of instructions of SQLite's, for ten letters."""
        steps: list[int] = []
        with Index.open(tmp_path / f"{count}.db") as index:
            letters = [letter(f"m{n:04}") for n in range(count)]
            index.record("things", "billing", letters, now=datetime.now(UTC))
            operations = Operations(index)
            group = Subscription(topic=Topic("things", str, groups=["billing"]).spec, group="billing")
            operation = operations.begin("redrive", group, Query(), Orders(), by="ada")
            operations.claim(operation, index.page(Query(), limit=count).letters)
            with index.database.reading() as connection:
                connection.set_progress_handler(lambda: steps.append(1), 100)
            on_its_way: tuple[Step, ...] = ("sending", "sent", "pending")
            for step in on_its_way:
                operations.mark(operation, [f"m{n:04}" for n in range(10)], step)
        return len(steps)

    assert cost(2000) < 2 * cost(100)


async def test_a_second_letter_of_an_id_goes_though_it_is_written_late_that_the_first_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = Operations.mark

    def late(self: Operations, operation: Any, idents: Sequence[str], step: Step, **more: Any) -> Any:
        if step == "pending":
            time.sleep(0.2)
        return mark(self, operation, idents, step, **more)

    monkeypatch.setattr(Operations, "mark", late)
    async with desk(tmp_path) as it:
        await it.bury(
            *(letter(f"m{n:03}") for n in range(BATCH + 1)), letter(f"m{BATCH:03}")
        )  # the last is there twice
        outcome = await it.run(it.begin())
        assert (await it.waiting(), len(await it.dead())) == (BATCH + 1, 0)
        assert (outcome.progress.moved, outcome.progress.pending) == (BATCH + 1, BATCH + 1)
