"""The embedded broker against a model of it: some members, two groups, one ordered, and everything that may befall them.

What an operation may answer is worked out by the model from the rules of `waybill.adapter`; the file is only asked whose
number still stands, since that decides who has lost what. At the end everything must be taken and settled: what is
left in the file then was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from waybill import DeadLetterRecord
from waybill.adapter import Source
from waybill.clock import TestClock
from waybill.loading import AdapterContext
from waybill.message import Delivery, Message
from waybill.outcomes import (
    ACK,
    DONE,
    LOST,
    RELEASE,
    Ack,
    Confirmed,
    DeadLetter,
    Defer,
    Extended,
    Release,
    Settled,
    Settlement,
)
from waybill.topology import Destination, Subscription, TopicSpec, Topology
from waybill_embedded import EmbeddedAdapter, adapter

T = TypeVar("T")

SEED = int(os.environ.get("FAULT_SEED", "1")) or random.randrange(1, 1 << 30)
"""The same each time, so that a failure is the change's; 0 draws one, which is printed."""
EXAMPLES = int(os.environ.get("FAULT_EXAMPLES", "300"))
STEPS = int(os.environ.get("FAULT_STEPS", "40"))

TOPIC = TopicSpec("things", ordered=True)
GROUPS = {
    "line": Subscription(topic=TOPIC, group="line", ordered=True, lease=30.0),
    "crowd": Subscription(topic=TOPIC, group="crowd", ordered=False, lease=30.0),
}
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("FAULT_SHRINK") else (Phase.generate,)
"""Shrinking takes minutes: only when somebody asks for it."""
KEYS = ["a", "b"]
MEMBERS = 3

which_member = st.integers(0, MEMBERS - 1)
which_group = st.sampled_from(sorted(GROUPS))
which_kind = st.sampled_from([Ack, Release, Defer, DeadLetter])
any_number = st.integers(0, 1 << 16)


@dataclass(eq=False)
class Copy:
    """What one group still has to do with one message."""

    ident: str
    number: int
    key: str | None
    delayed: bool
    due: float
    attempts: int = 0
    crashes: int = 0
    handed: bool = False
    holding: Holding | None = None


@dataclass(eq=False)
class Holding:
    """A delivery that was handed out, and to whom."""

    copy: Copy
    delivery: Delivery[Any]
    member: Member
    group: str
    source: Source
    settled: type[Settlement] | None = None
    over: bool = False
    """No longer ours: settled, lost, or given back when its source was left."""


@dataclass(eq=False)
class Way:
    """One open source."""

    source: Source
    stack: contextlib.AsyncExitStack
    quiet: bool = False


@dataclass(eq=False)
class Member:
    """One open adapter and its sources."""

    bus: EmbeddedAdapter
    ways: dict[str, Way] = field(default_factory=dict)
    killed: bool = False


class Broker(RuleBasedStateMachine):
    """The model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="waybill-model-"))
        self.loop = asyncio.new_event_loop()
        self.clock = TestClock(datetime(2030, 1, 1, tzinfo=UTC))
        self.members: list[Member | None] = [None] * MEMBERS
        self.ghosts: list[Member] = []
        """Killed, and not taken back yet."""
        self.copies: dict[str, dict[str, Copy]] = {group: {} for group in GROUPS}
        """What is not finished, in order of publishing."""
        self.dead: dict[str, int] = dict.fromkeys(GROUPS, 0)
        self.past: list[Holding] = []
        self.published = 0
        self.firsts: dict[str, int] = {}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    @property
    def path(self) -> Path:
        return self.folder / "bus.db"

    def query(self, statement: str, *values: Any) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()

    # ---------------------------------------------------------------- members

    @initialize()
    def begin(self) -> None:
        self.do(self._come(0))
        self.do(self._come(1))
        self._publish(self.members[0], ["a", "b", None, "a", "a", "b"], None, None)

    async def _come(self, number: int) -> None:
        bus = adapter(
            f"sqlite:///{self.path}?sync=normal", AdapterContext(application="model", clock=self.clock, options={})
        )
        await bus.__aenter__()
        await bus.admin.apply(await bus.admin.plan(Topology((TOPIC,), tuple(GROUPS.values()))))
        self.members[number] = member = Member(bus)
        for group in GROUPS:
            await self._open(member, group)

    async def _open(self, member: Member, group: str) -> None:
        stack = contextlib.AsyncExitStack()
        source = await stack.enter_async_context(member.bus.source(GROUPS[group], window=100, notify=lambda _: None))
        member.ways[group] = Way(source, stack)

    async def _shut(self, member: Member, group: str) -> None:
        way = member.ways.pop(group, None)
        if way is not None:
            await way.stack.aclose()
            for holding in self._held(member, group):
                self._free(holding)

    def _pick(self, number: int, group: str) -> tuple[Member, Way] | None:
        """A member that is there and has this group open; one that still fetches, if there is one."""
        there = [(member, member.ways[group]) for member in self.members if member is not None and group in member.ways]
        there = [(member, way) for member, way in there if not way.quiet] or there
        return there[number % len(there)] if there else None

    def _held(self, member: Member | None = None, group: str | None = None) -> list[Holding]:
        return [
            copy.holding
            for name, copies in self.copies.items()
            if group is None or name == group
            for copy in copies.values()
            if copy.holding is not None and (member is None or copy.holding.member is member)
        ]

    def _free(self, holding: Holding) -> None:
        """The copy may be handed out again; its holder has lost it."""
        holding.over = True
        if holding.copy.holding is holding:
            holding.copy.holding = None

    def _take_back(self) -> None:
        """What the file says about who has lost what."""
        numbers = {number for (number,) in self.query("SELECT id FROM members")}
        for holding in self._held():
            if holding.delivery.token.member not in numbers:
                holding.copy.crashes += holding.member.killed
                self._free(holding)
        for ghost in list(self.ghosts):
            if not self._held(ghost):
                self.ghosts.remove(ghost)

    @rule(number=which_member)
    def come(self, number: int) -> None:
        if self.members[number] is None:
            self.do(self._come(number))

    @rule(number=which_member)
    def leave(self, number: int) -> None:
        member = self.members[number]
        if member is not None and sum(m is not None for m in self.members) > 1:
            self.do(self._leave(member))
            self.members[number] = None

    async def _leave(self, member: Member) -> None:
        for group in list(member.ways):
            await self._shut(member, group)
        await member.bus.__aexit__(None, None, None)

    @rule(number=which_member)
    def kill(self, number: int) -> None:
        """As the kernel leaves it: the lock is free, the pipe and the row are there."""
        member = self.members[number]
        if member is None or sum(m is not None for m in self.members) == 1:
            return
        self._take_back()  # what it had lost before it died is not on its account
        self.members[number] = None
        member.killed = True
        self.ghosts.append(member)
        self.do(self._bury(member))

    async def _bury(self, member: Member) -> None:
        doorbell = member.bus._members
        for way in member.ways.values():
            way.source.close = _nothing  # type: ignore[attr-defined]  # a dead process gives nothing back
            await way.stack.aclose()
        fcntl.flock(doorbell._fd, fcntl.LOCK_UN)
        await member.bus._engine.close()
        for fd in (doorbell._fd, *doorbell._bells.values()):
            os.close(fd)
        doorbell._fd = -1

    @rule(number=which_member)
    def make_overdue(self, number: int) -> None:
        member = self.members[number]
        if member is not None:
            self.query("UPDATE members SET expires = 0 WHERE id = ?", member.bus._members.id)

    @rule(number=which_member, group=which_group)
    def close_a_source(self, number: int, group: str) -> None:
        member = self.members[number]
        if member is not None:
            self._take_back()
            self.do(self._shut(member, group))

    @rule(number=which_member, group=which_group)
    def open_a_source(self, number: int, group: str) -> None:
        member = self.members[number]
        if member is not None and group not in member.ways:
            self.do(self._open(member, group))

    @rule(number=which_member, group=which_group)
    def quiesce(self, number: int, group: str) -> None:
        member = self.members[number]
        if member is not None and group in member.ways:
            way = member.ways[group]
            way.quiet = True
            self.do(way.source.quiesce())

    # ---------------------------------------------------------------- messages

    @rule(
        number=which_member,
        keys=st.lists(st.sampled_from([None, *KEYS, *KEYS]), min_size=1, max_size=6),
        delay=st.sampled_from([None, None, None, None, 0.0, 3.0, 60.0]),
        only=st.sampled_from([None, None, None, *sorted(GROUPS)]),
    )
    def publish(self, number: int, keys: list[str | None], delay: float | None, only: str | None) -> None:
        picked = self._pick(number, "line") or self._pick(number, "crowd")
        if picked is None:
            return
        self._publish(picked[0], keys, delay, only)

    def _publish(self, member: Any, keys: Sequence[str | None], delay: float | None, only: str | None) -> None:
        now = self.clock.time()
        due = None if delay is None else datetime.fromtimestamp(now, UTC) + timedelta(seconds=delay)
        messages = []
        for key in keys:
            self.published += 1
            messages.append(
                Message(
                    id=f"m{self.published}", body=b"1", type="things", source="model",
                    time=datetime.fromtimestamp(now, UTC), key=key, due=due,
                )
            )  # fmt: skip
        place = Destination("topic" if only is None else "group", TOPIC, only)
        results = self.do(self._send(member, place, messages))
        for message, result in zip(messages, results, strict=True):
            assert isinstance(result, Confirmed)
            for group in GROUPS if only is None else [only]:
                self.copies[group][message.id] = Copy(
                    message.id, int(message.id[1:]), message.key,
                    delayed=bool(delay), due=0.0 if due is None else due.timestamp(),
                )  # fmt: skip

    async def _send(self, member: Member, place: Destination, messages: Sequence[Message]) -> Sequence[Any]:
        async with member.bus.sink(place) as sink:
            return await sink.send(messages, deadline=self.loop.time() + 10)

    @rule(number=which_member, group=which_group, limit=st.sampled_from([1, 2, 3, 10]))
    def receive(self, number: int, group: str, limit: int) -> None:
        picked = self._pick(number, group)
        if picked is not None:
            self._receive([(self.members.index(picked[0]), group)], limit)

    @rule(number=which_member, choice=st.lists(st.tuples(any_number, which_kind), max_size=6))
    def work_off(self, number: int, choice: list[tuple[int, type[Settlement]]]) -> None:
        """A few rounds of a consumer's life: take some of both groups, settle some of it."""
        for place, kind in choice:
            group = sorted(GROUPS)[place % 2]
            picked = self._pick(number, group)
            if picked is None:
                continue
            member, way = picked
            self._receive([(self.members.index(member), group)], 1 + place // 2 % 4)
            held = self._held(member, group)
            if held:
                holding = held[place // 8 % len(held)]
                self._settle(way, {holding: self._settlement(kind, holding, float(place // 64 % 3))})

    @rule(group=which_group, limit=st.sampled_from([1, 2, 10]))
    def all_receive_at_once(self, group: str, limit: int) -> None:
        self._receive([(number, group) for number in range(MEMBERS)], limit)

    def _receive(self, places: list[tuple[int, str]], limit: int) -> int:
        """Receive there at once, and hold what comes against the rules. How many came."""
        receiving: list[tuple[Member, str, Way]] = []
        for number, group in places:
            member = self.members[number]
            if member is not None and group in member.ways:
                receiving.append((member, group, member.ways[group]))
        found = self.do(_gather([_ask(member, way.source, limit) for member, _, way in receiving]))
        self._take_back()
        new: list[Holding] = []
        for (member, group, way), deliveries in zip(receiving, found, strict=True):
            assert len(deliveries) <= limit
            assert not (way.quiet and deliveries), "a source that was quiesced fetched"
            new += [self._handed(member, group, way, delivery) for delivery in deliveries]
        for holding in new:
            self._check_handed(holding)
        for member, group, way in receiving:
            number = member.bus._members.id
            mine = [held for held in self._held(member, group) if held.delivery.token.member == number]
            suspects = [held for held in mine if held.copy.crashes and held.source is way.source]
            assert len(suspects) <= 1, f"{len(suspects)} suspects at once"
        return len(new)

    def _handed(self, member: Member, group: str, way: Way, delivery: Delivery[Any]) -> Holding:
        ident = delivery.message.id
        copy = self.copies[group].get(ident)
        assert copy is not None, f"{ident} was handed to {group} again after it was finished"
        assert copy.holding is None, f"{ident} is held by two members"
        assert copy.due <= self.clock.time() + 1e-6, f"{ident} came before it was due"
        assert delivery.attempt == 1 + copy.attempts + max(0, copy.crashes - 1), f"{ident}: attempt {delivery.attempt}"
        assert delivery.redelivered or not copy.handed
        copy.due = 0.0
        copy.holding = Holding(copy, delivery, member, group, way.source)
        if group == "line" and copy.key is not None and not copy.handed and not copy.delayed:
            assert copy.number > self.firsts.get(copy.key, 0), f"{ident} was first handed out after a later one"
            self.firsts[copy.key] = copy.number
        copy.handed = True
        self.past.append(copy.holding)
        return copy.holding

    def _check_handed(self, holding: Holding) -> None:
        if holding.group != "line" or holding.copy.key is None:
            return
        for other in self.copies["line"].values():
            if other.key != holding.copy.key or other is holding.copy:
                continue
            if other.holding is not None:
                assert other.holding.member is holding.member, f"two members hold key {other.key}"
            elif other.number < holding.copy.number and not other.delayed:
                raise AssertionError(f"{holding.copy.ident} was handed out past {other.ident}")

    # ---------------------------------------------------------------- settling

    def _is_first(self, holding: Holding) -> bool:
        """Whether a consumer can have handled it: the first of its key that its member holds."""
        copy = holding.copy
        return not any(
            other.copy.key == copy.key is not None and other.copy.number < copy.number
            for other in self._held(holding.member, holding.group)
            if holding.group == "line"
        )

    def _settlement(self, kind: type[Settlement], holding: Holding, after: float) -> Settlement:
        now = datetime.fromtimestamp(self.clock.time(), UTC)
        if not self._is_first(holding):
            return RELEASE  # the core begins with a message when the one before it is settled
        if kind is Defer:
            return Defer(after, holding.delivery.attempt, now)
        if kind is DeadLetter:
            return DeadLetter(
                DeadLetterRecord(reason="rejected", topic="things", group=holding.group, attempts=1, at=now)
            )
        return ACK if kind is Ack else RELEASE

    @rule(
        number=which_member,
        group=which_group,
        choice=st.lists(st.tuples(any_number, which_kind, st.sampled_from([0.0, 2.0, 60.0])), min_size=1, max_size=4),
    )
    def settle(self, number: int, group: str, choice: list[tuple[int, type[Settlement], float]]) -> None:
        self._take_back()
        holders = [holding for holding in self._held(group=group) if self._open_still(holding)]
        if not holders:
            return
        member = holders[number % len(holders)].member
        held = [holding for holding in self._held(member, group) if self._open_still(holding)]
        batch: dict[Holding, Settlement] = {}
        for place, kind, after in choice:
            if held:
                holding = held.pop(place % len(held))
                batch[holding] = self._settlement(kind, holding, after)
        if batch:
            self._settle(member.ways[group], batch)

    def _settle(self, way: Way, batch: dict[Holding, Settlement]) -> None:
        for holding, settlement in list(batch.items()):
            if isinstance(settlement, Defer | Release) and holding.group == "line" and holding.copy.key is not None:
                for other in self._held(
                    holding.member, "line"
                ):  # as the core does: what is behind it goes back with it
                    if other.copy.key == holding.copy.key and other.copy.number > holding.copy.number:
                        batch[other] = RELEASE
        batch = dict(sorted(batch.items(), key=lambda item: item[0].copy.number))
        settled = [Settled(holding.delivery, settlement) for holding, settlement in batch.items()]
        results = self.do(way.source.settle(settled))
        for (holding, settlement), result in zip(batch.items(), results, strict=True):
            if result == LOST and holding.delivery.token.member != holding.member.bus._members.id:
                self._free(holding)  # it was overdue and has begun anew; nobody has noticed yet
                continue
            assert result == DONE, f"{holding.copy.ident} is ours and was not settled: {result}"
            self._settled(holding, settlement)

    def _settled(self, holding: Holding, settlement: Settlement) -> None:
        copy = holding.copy
        holding.settled = type(settlement)
        self._free(holding)
        if isinstance(settlement, Defer):
            copy.due = self.clock.time() + settlement.after
            copy.attempts, copy.crashes = settlement.attempts, 0
        elif isinstance(settlement, Ack | DeadLetter):
            del self.copies[holding.group][copy.ident]
            self.dead[holding.group] += isinstance(settlement, DeadLetter)

    @precondition(lambda self: self.past)
    @rule(place=any_number, kind=which_kind)
    def settle_again(self, place: int, kind: type[Settlement]) -> None:
        """What was settled, or lost to others, is settled once more. (Overdue and not taken back yet: either answer.)"""
        self._take_back()
        stands = {number for (number,) in self.query("SELECT id FROM members")}
        over = [
            holding
            for holding in self.past
            if holding.over
            and self._open_still(holding)
            and (holding.settled is not None or holding.delivery.token.member not in stands)
        ]
        if not over:
            return
        holding = over[-1 - place % min(len(over), 5)]  # the latest are the likeliest to be out again
        settlement = self._settlement(kind, holding, 1.0)
        kind = type(settlement)
        result = self.do(holding.source.settle([Settled(holding.delivery, settlement)]))[0]
        same = holding.settled is kind
        assert result == (DONE if same else LOST), f"{holding.copy.ident}, {holding.settled}, then {kind}: {result}"

    def _open_still(self, holding: Holding) -> bool:
        way = holding.member.ways.get(holding.group)
        return not holding.member.killed and way is not None and way.source is holding.source

    @rule(number=which_member, group=which_group)
    def extend(self, number: int, group: str) -> None:
        member = self.members[number]
        if member is None or group not in member.ways:
            return
        self._take_back()
        held = [holding for holding in self._held(member, group) if self._open_still(holding)]
        lost = [
            item
            for item in self.past
            if item.over and item.member is member and item.source is member.ways[group].source
        ][-3:]
        results = self.do(member.ways[group].source.extend([item.delivery for item in (*held, *lost)]))
        for item, result in zip((*held, *lost), results, strict=True):
            if item.over:
                assert result == LOST, f"{item.copy.ident} is not ours and was extended"
            elif not isinstance(result, Extended):
                self._free(item)  # overdue: the core will not settle it any more, so it must come back by itself

    @rule(seconds=st.sampled_from([0.5, 2.0, 30.0, 120.0]))
    def pass_time(self, seconds: float) -> None:
        async def jump() -> None:
            self.clock.advance(seconds)

        self.do(jump())

    # ---------------------------------------------------------------- what always holds

    @invariant()
    def the_figures_agree(self) -> None:
        member = next((member for member in self.members if member is not None), None)
        if member is None:
            return
        self._take_back()
        now = self.clock.time()
        for group, copies in self.copies.items():
            backlog = self.do(member.bus.admin.backlog(GROUPS[group]))
            held = self._held(group=group)
            free = [copy for copy in copies.values() if copy.holding is None]
            waits = sum(copy.due > now for copy in free)
            ready, delayed, in_flight = backlog.ready.value, backlog.delayed.value, backlog.in_flight.value
            assert ready is not None
            assert delayed is not None
            assert in_flight is not None
            assert ready + delayed + in_flight == len(copies), backlog
            assert in_flight >= len(held), backlog
            if in_flight == len(held):
                assert delayed == waits if group == "crowd" else delayed >= waits, backlog
            assert backlog.dead.value == self.dead[group]
        unfinished = {ident for copies in self.copies.values() for ident in copies}
        assert self.query("SELECT count(*) FROM messages")[0][0] == len(unfinished)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and self.members != [None] * MEMBERS:
                self._drain()
        finally:
            self.do(self._end())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.folder)

    def _drain(self) -> None:
        """Everything can be had in the end, by whoever is there."""
        for member in self.members:
            if member is None:
                continue
            for group in GROUPS:
                if group not in member.ways or member.ways[group].quiet:
                    self._take_back()
                    self.do(self._shut(member, group))
                    self.do(self._open(member, group))
        self.do(_sleep_over(self.clock))
        for _ in range(4 * self.published + 10):
            came = 0
            for number, member in enumerate(self.members):
                if member is None:
                    continue
                for group, way in member.ways.items():
                    self._take_back()
                    held: dict[Holding, Settlement] = dict.fromkeys(self._held(member, group), ACK)
                    if held:
                        self._settle(way, held)
                    came += len(held) + self._receive([(number, group)], 50)
            if not came:
                break
        left = {group: sorted(copies) for group, copies in self.copies.items() if copies}
        assert not left, f"never handed out again: {left}; {self.query('SELECT * FROM entries')}"
        assert self.query("SELECT count(*) FROM messages") == [(0,)]
        assert self.query("SELECT count(*) FROM entries") == [(0,)]
        alive = {member.bus._members.doorbell for member in self.members if member is not None}
        listed = {doorbell for (doorbell,) in self.query("SELECT doorbell FROM members")}
        assert listed <= alive, "members that are gone are still listed"

    async def _end(self) -> None:
        for member in self.members:
            if member is not None:
                for way in list(member.ways.values()):
                    await way.stack.aclose()
                await member.bus.__aexit__(None, None, None)


async def _nothing() -> None:
    pass


async def _gather(work: list[Coroutine[Any, Any, T]]) -> list[T]:
    return list(await asyncio.gather(*work))


async def _sleep_over(clock: TestClock) -> None:
    clock.advance(1_000_000)


async def _ask(member: Member, source: Any, limit: int) -> Sequence[Delivery[Any]]:
    """`receive`, but back as soon as it only waits; and it looks around each time, instead of once a second."""
    source._looked = float("-inf")
    asking = asyncio.ensure_future(source.receive(limit))
    engine, members = member.bus._engine, member.bus._members
    while not asking.done():
        await asyncio.sleep(0)
        if members._sleepers and engine._runner is None and not asking.done():
            for _ in range(3):  # it may have been woken at this moment
                await asyncio.sleep(0)
            if members._sleepers and engine._runner is None and not asking.done():
                asking.cancel()
                await asyncio.wait([asking])
    return () if asking.cancelled() else asking.result()


@pytest.mark.timeout(360)  # 15 s on a quiet machine
def test_the_embedded_broker_keeps_to_its_model() -> None:
    print(f"FAULT_SEED={SEED} FAULT_EXAMPLES={EXAMPLES} FAULT_STEPS={STEPS}")
    hypothesis.seed(SEED)(Broker)
    run_state_machine_as_test(
        Broker,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
