"""What goes wrong with redrives elsewhere.

A failing place for dead letters that holds up its group's messages, and copies for other groups, are promises D04 and D08 of the kit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from waybill import BrokerError, ConfigurationError, Topic
from waybill.adapter import Adapter
from waybill.dlq.editing import edit
from waybill.dlq.journal import Written
from waybill.dlq.model import Query, State
from waybill.dlq.operation import Operation
from waybill.dlq.operations import Operations
from waybill.dlq.planning import checking
from waybill.dlq.running import run
from waybill.history import Stretch
from waybill.message import Delivery, Message
from waybill.outcomes import ACK, Confirmed, Settled, SettleResult, Unknown
from waybill.topology import Destination, Subscription

from .between import Between
from .desk import desk, eventually, ids, letter


async def test_a_letter_goes_round_three_times_and_then_for_nobody_but_with_force(tmp_path: Path) -> None:
    async with desk(tmp_path, tells=True) as it:
        await it.bury(letter("m1"))
        it.fails = lambda _: True
        async with it.app().running():
            for redrives in range(3):
                operation = it.begin(abort_above=1.0)
                await it.run(operation)
                progress = await it.decided(operation)
                assert (progress.came_back, progress.alike) == (1, int(redrives > 0)), "as the letter before failed"
                await it.collect()
            found = it.operations.index.get(it.key("m1"))
            assert found is not None
            assert (found.redrives, found.visits, found.came_back, found.state) == (3, 4, True, State.UNRESOLVED)
            assert (await it.plan()).worn == 1
            assert (await it.run(it.begin())).progress.total == 0
            assert (await it.plan(force=True)).count == 1
        assert [message.redrives for message in await it.dead()] == [3]


async def test_what_came_back_is_where_it_was_with_all_it_had(tmp_path: Path) -> None:
    """Elsewhere it comes back with another routing, is rejected once more, and vanishes."""
    async with desk(tmp_path, tells=True) as it:
        await it.bury(letter("m1", headers={"tenant": "north"}, key="k", correlation_id="c", body=b'"\xc3\xa9"'))
        it.fails = lambda _: True
        async with it.app().running():
            for _ in range(2):
                operation = it.begin(abort_above=1.0)
                await it.run(operation)
                await it.decided(operation)
        (back,) = await it.dead()
        assert (back.id, back.key, dict(back.headers), back.correlation_id) == ("m1", "k", {"tenant": "north"}, "c")
        assert (back.body, back.type, back.redrives) == (b'"\xc3\xa9"', "things", 2)


async def test_what_was_copied_and_not_removed_is_only_removed_the_next_time(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        operation = it.begin()
        real = it.adapter

        async def refuse(settled: Sequence[Settled]) -> Sequence[SettleResult]:
            raise BrokerError("cut")

        it.adapter = cast("Adapter", Between(real, settle=refuse))
        running = asyncio.create_task(it.run(operation))

        async def sent() -> int:
            return it.operations.progress(operation).sent

        await eventually(sent, lambda number: number == 2)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, BrokerError):
            await running
        it.adapter = real
        assert len(await it.dead()) == 2
        outcome = await it.run(operation)
        assert (outcome.progress.pending, outcome.progress.repeated) == (2, 0)
        assert (len(await it.dead()), await it.waiting()) == (0, 2)


async def test_a_letter_that_lies_there_twice_is_sent_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"), letter("m1"))
        outcome = await it.run(it.begin())
        assert (outcome.progress.pending, await it.waiting(), await it.dead()) == (2, 2, [])


async def test_keys_keep_their_order_and_none_passes_one_that_stayed(tmp_path: Path) -> None:
    async with desk(tmp_path, ordered=True, key=True) as it:
        await it.bury(*(letter(f"{key}{n}", key=key) for n in range(4) for key in "ab"))
        real, it.adapter = it.adapter, cast("Adapter", Between(it.adapter, send="b1"))
        outcome = await it.run(it.begin(rate=20.0))  # two at a time
        it.adapter = real
        assert (outcome.progress.pending, outcome.progress.left, outcome.whole) == (5, 3, False)
        assert outcome.progress.cause == "too large", "that of the first"
        assert ids(await it.dead()) == ["b1", "b2", "b3"]
        async with it.app(ordered=True).running():
            await eventually(it.waiting, lambda waiting: waiting == 0)
            await eventually(_number_of(it.handled), lambda number: number == 5)
        assert [m.id for m in it.handled if m.key == "a"] == ["a0", "a1", "a2", "a3"]


def _number_of(found: list[Message]) -> Any:
    async def look() -> int:
        return len(found)

    return look


async def test_what_today_cannot_be_read_stays_where_it_is(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("odd", body=b"{"))
        outcome = await it.run(it.begin(), check=checking(it.topic))
        assert outcome.progress.total == 1
        assert ids(await it.dead()) == ["odd"]
        assert (await it.plan(check=checking(it.topic))).causes


class Kept:
    """A topic's history."""

    total = 3

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)

    @contextlib.asynccontextmanager
    async def past(self, subscription: Subscription, stretch: Stretch) -> AsyncGenerator[Kept, None]:
        self._messages = [
            message for message in self._messages if stretch.since is None or message.time >= stretch.since
        ]
        yield self

    async def read(self, limit: int) -> Sequence[Delivery[Any]] | None:
        read, self._messages = self._messages[:limit], self._messages[limit:]
        return [Delivery(message=message, topic="things", group="") for message in read] or None

    async def seek(self, subscription: Subscription, stretch: Stretch) -> None:
        raise AssertionError("a plan changes nothing")


async def test_a_later_message_of_the_key_that_was_published_is_warned_of(tmp_path: Path) -> None:
    async with desk(tmp_path, key=True) as it:
        await it.bury(letter("a1", key="a"), letter("b1", key="b"), letter("c1"))
        kept = Kept(letter("b0", key="b", age=90), letter("a2", key="a", age=1), letter("x1", key="x", age=1))
        made = await it.plan(history=kept)
        assert (made.count, made.behind) == (3, 1)
        assert "later messages of their keys" in " ".join(made.warnings)


async def test_what_may_have_been_sent_is_sent_again_only_by_the_next_run(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        operation = it.begin()
        real, it.adapter = it.adapter, cast("Adapter", Between(it.adapter, send=Unknown("timed out")))
        outcome = await it.run(operation)
        it.adapter = real
        assert "of 2 it is not known whether they were sent: timed out" in outcome.waits
        assert (outcome.operation.state, outcome.progress.sending, outcome.progress.repeated) == ("running", 2, 0)
        assert it.operations.get(operation.id).note == outcome.waits
        outcome = await it.run(operation)
        assert (outcome.progress.pending, outcome.progress.repeated, await it.waiting()) == (2, 2, 2)


async def test_one_that_somebody_else_has_removed_is_told_as_gone(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        operation = it.begin()
        it.operations.claim(operation, it.operations.index.page(Query()).letters)
        async with it.adapter.dead_letters(it.group) as source:
            taken = await source.receive(10)
            await source.settle([Settled(taken[0], ACK)])
        outcome = await it.run(operation)
        assert (outcome.progress.pending, outcome.progress.gone) == (1, 1)


async def test_a_place_that_is_not_there_gets_nothing_and_nothing_is_lost(tmp_path: Path) -> None:
    other = Topic("elsewhere", str, groups=["archive"])
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        outcome = await it.run(it.begin(to="elsewhere"), to=(it.adapter, Destination("topic", other.spec)))
        assert outcome.progress.left == 1, "nobody has declared it"
        assert ids(await it.dead()) == ["m1"]


async def test_a_letter_that_somebody_else_has_removed_is_archived_and_not_claimed_for_ever(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        operation = it.begin()
        assert it.operations.claim(operation, it.operations.index.page(Query()).letters) == 2
        async with it.adapter.dead_letters(it.group) as source:
            taken = await source.receive(10)
            await source.settle([Settled(delivery, ACK) for delivery in taken])
        outcome = await it.run(operation)
        assert outcome.progress.gone == 2
        await it.collect()
        assert set(it.states().values()) == {State.ARCHIVED}


async def test_one_that_was_found_gone_while_it_was_claimed_is_archived_when_it_is_freed(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        assert it.operations.claim(operation, it.operations.index.page(Query()).letters) == 1
        async with it.adapter.dead_letters(it.group) as source:
            await source.settle([Settled(delivery, ACK) for delivery in await source.receive(10)])
        await it.collect()
        it.operations.cancel(operation, by="ada", why="")
        assert set(it.states().values()) == {State.ARCHIVED}


async def test_a_copy_that_dies_elsewhere_is_another_letter_and_the_first_is_done_with(tmp_path: Path) -> None:
    async with desk(tmp_path, tells=True) as it:
        await it.bury(letter("m1"))
        operation = edit(it.operations, it.group, "m1", body=b'"mended"', by="ada", why="it was empty")
        await it.run(operation)
        it.fails = lambda _: True
        async with it.app().running():
            assert (await it.decided(operation)).came_back == 1
        await it.collect()
        states = it.states()
        assert states.pop("m1") is State.ARCHIVED
        assert list(states.values()) == [State.UNRESOLVED]


async def test_a_letter_that_is_done_is_not_moved_back_by_a_step_that_comes_too_late(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        await it.run(operation)
        it.operations.mark(operation, ["m1"], "left", cause="it must not pass one of its key")
        assert it.operations.progress(operation).pending == 1
        assert it.states() == {"m1": State.PENDING}


async def test_a_second_letter_of_an_id_that_is_held_back_says_nothing_of_the_first(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        found = it.operations.index.get(it.key("m1"))
        assert found is not None
        it.operations.claim(operation, [found])
        held = [Delivery(message=letter("m1"), topic="things", group="g", token=1)]
        with it.operations.carrying_out(operation) as runner:
            journal = Written(it.operations, operation, runner, {})
            await journal.sending([])  # so that it is not soon time to write down what is removed
            assert await journal.sending(held) == ["send"]
            await journal.sent(held, [Confirmed("m1")])
            await journal.removed(held)
            await journal.held_back(held)
            await journal.catch_up()
        progress = it.operations.progress(operation)
        assert (progress.pending, progress.left) == (1, 0)


async def test_who_comes_when_another_has_just_ended_it_claims_nothing_more(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        begun = asyncio.Event()

        class Late(Operations):
            """Reads how far it is, and begins when the other has ended."""

            def carrying_out(self, operation: Operation) -> Any:
                it.operations.cancel(operation, by="joe", why="it is not mended")
                begun.set()
                return super().carrying_out(operation)

        with pytest.raises(ConfigurationError, match="cancelled"):
            await run(it.adapter, it.group, Late(it.operations.index), operation)
        assert begun.is_set()
        assert it.states() == {"m1": State.UNRESOLVED}


async def test_one_that_was_killed_goes_on_though_its_number_is_another_processs_now(tmp_path: Path) -> None:
    """In a container that is started anew each process has the number of the one before."""
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin()
        with it.operations.carrying_out(operation):
            with pytest.raises(ConfigurationError, match="is carried out by process"):
                await it.run(operation)
            with it.operations.index.database.writing() as connection:
                connection.execute("UPDATE operation SET beat = beat - 61")
            assert (await it.run(operation)).whole


async def test_who_carries_it_out_gives_signs_of_life_also_where_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waybill.dlq.carrying.BEAT", 0.01)
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"))
        operation = it.begin(rate=0.01)
        running = asyncio.create_task(it.run(operation))

        async def beat() -> float:
            with it.operations.index.database.reading() as connection:
                seen: float = connection.execute("SELECT beat FROM operation").fetchone()[0]
                return seen

        first = await eventually(beat, bool)
        await eventually(beat, lambda now: now > first + 1.0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
