"""What a plan says before anything is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from waybill import Message, Topic
from waybill.dlq.model import Query
from waybill.dlq.operation import Orders
from waybill.dlq.planning import checking
from waybill.topology import Destination

from .desk import desk, letter


async def test_it_counts_what_would_go_and_what_is_left_and_changes_nothing(tmp_path: Path) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    async with desk(tmp_path) as it:
        await it.bury(
            letter("m1", age=300.0),
            letter("m2", reason="rejected"),
            letter("late", expires=past),
            letter("worn", redrives=3),
            letter("odd", body=b"\xff{"),
            letter("m3"),
        )
        made = await it.plan(check=checking(it.topic), rate=2.0, limit=2)
        assert (made.found, made.count, made.expired, made.worn, made.unfit, made.beyond) == (6, 2, 1, 1, 1, 1)
        assert (made.to, made.seconds, made.reasons) == ("things/billing", 1.0, {"retries_exhausted": 1, "rejected": 1})
        told = " ".join(made.warnings)
        for word in ("expired", "redrive_limit", "cannot be read"):
            assert word in told
        everything = await it.plan(check=checking(it.topic), force=True, expired=True)
        assert (everything.count, everything.found) == (6, 6)
        assert (await it.plan(Query(reason="rejected"))).count == 1
        assert len(await it.dead()) == 6
        assert set(it.states().values()) == {"unresolved"}


async def test_letters_that_would_come_behind_later_ones_of_their_key_are_counted(tmp_path: Path) -> None:
    async with desk(tmp_path, ordered=True, key=True) as it:
        await it.bury(letter("a1", key="a", age=90), letter("b1", key="b", age=80), letter("a2", key="a", age=70))
        made = await it.plan(Query(ids=("a1", "b1")))
        assert (made.count, made.behind) == (2, 0)  # a2 is not asked for, and nobody has looked at it
        made = await it.plan(limit=2)
        assert (made.count, made.behind) == (2, 1)
        assert "behind later messages of their keys" in " ".join(made.warnings)
        assert "end of its key's line" in " ".join((await it.plan()).warnings)


async def test_another_topic_is_warned_of_and_so_is_great_age(tmp_path: Path) -> None:
    other = Topic("elsewhere", str, dedup_window=60.0)
    async with desk(tmp_path) as it:
        await it.bury(letter("m1", age=9 * 86_400.0))
        made = await it.plan(to=Destination("topic", other.spec))
        told = " ".join(made.warnings)
        assert made.to == "elsewhere"
        assert "every group of elsewhere" in told
        assert "one message an id" in told
        assert "9 d" in told


async def test_what_another_operation_has_claimed_is_left(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.bury(letter("m1"), letter("m2"))
        held = it.begin(Query(ids=("m1",)))
        assert it.operations.claim(held, it.operations.index.find("m1")) == 1
        made = await it.plan()
        assert (made.count, made.claimed) == (1, 1)
        assert "another operation" in " ".join(made.warnings)


async def test_what_is_secret_is_in_no_cause_and_no_reason(tmp_path: Path) -> None:
    class Telling(Topic[str]):
        def decode(self, message: Message) -> str:
            raise ValueError(f"cannot read password=hunter22 or {message.headers['seat']}")

    async with desk(tmp_path) as it:
        await it.bury(letter("m1", headers={"seat": "window-12"}))
        (cause,) = (await it.plan(check=checking(Telling("things", str), ["seat"]))).causes
        assert "cannot read" in cause
        assert ("hunter22" in cause, "window-12" in cause) == (False, False)
        operation = it.operations.begin("redrive", it.group, Query(), Orders(), by="ada", why="token: hunter22 is new")
        it.operations.cancel(operation, by="ada", why="token: hunter22 was it")
        (kept,) = it.operations.all(ended=True)
        assert ("is new" in kept.why, "was it" in kept.note, "hunter22" in f"{kept}") == (True, True, False)
