"""The embedded broker: its file, its groups, order over several members, leases, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waybill import App, BrokerError, BrokerFileError, ConfigurationError, DeadLetterRecord, Retry, Settings, Topic
from waybill.adapter import Source
from waybill.clock import Clock, SystemClock, TestClock
from waybill.consumer import Consumer
from waybill.loading import AdapterContext
from waybill.message import Delivery, Message
from waybill.options import ConsumerOptions
from waybill.outcomes import (
    ACK,
    DONE,
    LOST,
    RELEASE,
    Confirmed,
    DeadLetter,
    Defer,
    Release,
    Settled,
    Settlement,
    SettleResult,
)
from waybill.topology import Destination, Subscription, TopicSpec, Topology
from waybill_embedded import EmbeddedAdapter, adapter, checkpointing, engine

from .stand_ins import message, never, until

TOPIC = TopicSpec("things", ordered=True)
NOW = datetime.now(UTC)


def group(name: str = "g", *, ordered: bool = False, lease: float = 30.0) -> Subscription:
    return Subscription(topic=TOPIC, group=name, ordered=ordered, lease=lease)


@contextlib.asynccontextmanager
async def opened(url: str, *groups: Subscription, clock: Clock | None = None) -> AsyncGenerator[EmbeddedAdapter, None]:
    bus = adapter(url, AdapterContext(application="test", clock=clock or SystemClock(), options={}))
    async with bus:
        plan = await bus.admin.plan(Topology((TOPIC,), groups or (group(),)))
        await bus.admin.apply(plan)
        yield bus


@contextlib.asynccontextmanager
async def reading(bus: EmbeddedAdapter, subscription: Subscription | None = None) -> AsyncGenerator[Source, None]:
    async with bus.source(subscription or group(), window=100, notify=lambda _: None) as source:
        yield source


async def send(bus: EmbeddedAdapter, *messages: Message, to: Destination | None = None) -> None:
    async with bus.sink(to or Destination("topic", TOPIC)) as sink:
        results = await sink.send(messages, deadline=time.monotonic() + 5)
    assert [type(result) for result in results] == [Confirmed] * len(messages)


async def take(source: Source, limit: int = 100, *, within: float = 2.0) -> list[Delivery[Any]]:
    async with asyncio.timeout(within):
        while not (found := await source.receive(limit)):
            pass
        return list(found)


async def nothing(source: Source, *, during: float = 0.15) -> bool:
    receiving = asyncio.ensure_future(source.receive(100))
    done, _ = await asyncio.wait([receiving], timeout=during)
    if done:
        return not receiving.result()
    receiving.cancel()
    await asyncio.wait([receiving])
    return True


async def settle(source: Source, settlement: Settlement, *deliveries: Delivery[Any]) -> Sequence[SettleResult]:
    return await source.settle([Settled(delivery, settlement) for delivery in deliveries])


def ids(deliveries: Sequence[Delivery[Any]]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


def defer(after: float = 0.0, attempts: int = 1) -> Defer:
    return Defer(after, attempts, NOW)


def rows(path: Path, table: str = "messages") -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bus.db'}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus.db"


# ------------------------------------------------------------------ the file


async def test_a_file_of_a_later_version_is_refused_and_not_changed(url: str, path: Path) -> None:
    async with opened(url) as bus:
        await send(bus, message("a"))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    with pytest.raises(BrokerFileError, match="later version"):
        async with opened(url):
            pass
    assert path.read_bytes() == before


async def test_an_sqlite_file_of_another_program_is_refused_and_not_changed(url: str, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE contacts (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(BrokerFileError, match="another program"):
        async with opened(url):
            pass
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_not_changed(url: str, path: Path) -> None:
    path.write_bytes(b"something else " * 1000)
    with pytest.raises(BrokerFileError, match="not an SQLite file"):
        async with opened(url):
            pass
    assert path.read_bytes() == b"something else " * 1000


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerFileError, match="folder exists"):
        async with opened(f"sqlite:///{tmp_path}/no/where/bus.db"):
            pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sqlite://bus.db", "three slashes"), ("sqlite:///", "names no file"), ("sqlite:///a.db?sync=never", "sync is"),
        ("sqlite:///a.db?fsync=full", "knows `sync`"), ("memory://x?y=z", "knows `sync`"),
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used_says_what_would(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        adapter(text, AdapterContext(application="t", clock=SystemClock(), options={}))


async def test_no_file_stays_open_after_a_refusal(url: str, path: Path) -> None:
    path.write_bytes(b"something else " * 1000)
    with pytest.raises(BrokerFileError):
        async with opened(url):
            pass
    assert not [name for name in map(_target, Path("/proc/self/fd").iterdir()) if name.startswith(str(path))]


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""  # closed meanwhile: the one of this very listing


async def test_messages_survive_the_end_of_everyone(url: str) -> None:
    async with opened(url) as bus:
        await send(bus, message("a", body=bytes(range(256)), headers={"ü": "✓"}), message("b", body=b""))
    async with opened(url) as bus, reading(bus) as source:
        first, second = await take(source)
    assert (first.message.body, dict(first.message.headers)) == (bytes(range(256)), {"ü": "✓"})
    assert second.message.body == b""


async def test_a_tombstone_stays_a_tombstone(url: str) -> None:
    async with opened(url) as bus, reading(bus) as source:
        await send(bus, message("a", key="k", body=None))
        (delivery,) = await take(source)
    assert delivery.message.body is None


# ------------------------------------------------------------------ groups


async def test_each_group_gets_everything_and_the_rows_go_with_the_last_acknowledgement(url: str, path: Path) -> None:
    async with (
        opened(url, group("a"), group("b")) as bus,
        reading(bus, group("a")) as a,
        reading(bus, group("b")) as b,
    ):
        await send(bus, *(message(f"m{n}") for n in range(5)))
        of_a, of_b = await take(a), await take(b)
        assert ids(of_a) == ids(of_b) == [f"m{n}" for n in range(5)]
        await settle(a, ACK, *of_a)
        assert rows(path) == 5
        await settle(b, ACK, *of_b[:3])
        assert rows(path) == 2
        await settle(b, ACK, *of_b[3:])
        assert rows(path) == rows(path, "entries") == 0


async def test_a_group_that_has_not_looked_yet_keeps_the_rows(url: str, path: Path) -> None:
    async with opened(url, group("a"), group("b")) as bus, reading(bus, group("a")) as a:
        await send(bus, message("m"))
        await settle(a, ACK, *await take(a))
        assert rows(path) == 1
        async with reading(bus, group("b")) as b:
            assert ids(await take(b)) == ["m"]


async def test_the_first_group_of_a_topic_gets_its_history_and_a_later_one_what_comes(url: str) -> None:
    async with adapter(url, AdapterContext(application="t", clock=SystemClock(), options={})) as bus:
        await bus.admin.apply(await bus.admin.plan(Topology((TOPIC,), ())))
        kept = msgspec.structs.replace(TOPIC, accept_unrouted=True)
        await send(bus, message("old"), to=Destination("topic", kept))
        await bus.admin.apply(await bus.admin.plan(Topology((), (group("a"),))))
        await bus.admin.apply(await bus.admin.plan(Topology((), (group("b"),))))
        await send(bus, message("new"))
        async with reading(bus, group("a")) as a, reading(bus, group("b")) as b:
            assert ids(await take(a)) == ["old", "new"]
            assert ids(await take(b)) == ["new"]


async def test_a_message_for_one_group_is_seen_by_no_other_and_its_row_goes_at_once(url: str, path: Path) -> None:
    async with (
        opened(url, group("a"), group("b")) as bus,
        reading(bus, group("a")) as a,
        reading(bus, group("b")) as b,
    ):
        await send(bus, message("m"), to=Destination("group", TOPIC, "a"))
        assert await nothing(b)
        (delivery,) = await take(a)
        await settle(a, ACK, delivery)
        assert rows(path) == 0


async def test_sending_to_what_does_not_exist_is_refused(url: str) -> None:
    async with opened(url) as bus, bus.sink(Destination("topic", TopicSpec("missing"))) as sink:
        (result,) = await sink.send([message("a")], deadline=0)
    assert "does not exist" in result.reason  # type: ignore[union-attr]


async def test_two_members_share_a_group_without_overlap(url: str) -> None:
    async with opened(url) as one, opened(url) as two, reading(one) as a, reading(two) as b:
        await send(one, *(message(f"m{n:02}") for n in range(20)))
        of_a = await take(a, 10)
        of_b = await take(b, 20)
        assert sorted(ids(of_a) + ids(of_b)) == [f"m{n:02}" for n in range(20)]


async def test_two_applications_of_one_process_share_a_memory_by_its_name() -> None:
    topic = Topic("things", int)
    here, there = (
        App("here", settings=Settings(url="memory://shared-by-two")),
        App("there", settings=Settings(url="memory://shared-by-two")),
    )
    seen: list[tuple[str, int]] = []

    @here.consume(topic)
    async def on_here(value: int) -> None:
        seen.append(("here", value))

    @there.consume(topic)
    async def on_there(value: int) -> None:
        seen.append(("there", value))

    async with here.running(), there.running():
        await asyncio.gather(
            *(here.publish(topic, n) for n in range(20)), *(there.publish(topic, n) for n in range(20, 40))
        )
        await until(lambda: len(seen) == 80)
    assert sorted(value for name, value in seen if name == "here") == list(range(40))


async def test_nameless_memories_are_apart() -> None:
    async with opened("memory://") as one, opened("memory://") as two, reading(two) as source:
        await send(one, message("a"))
        assert await nothing(source)


# ------------------------------------------------------------------ settling


async def test_a_retry_comes_back_when_due_with_its_count(url: str) -> None:
    clock = TestClock()
    async with opened(url, clock=clock) as bus, reading(bus) as source:
        await send(bus, message("a"))
        (delivery,) = await take(source)
        await settle(source, defer(60, attempts=1), delivery)
        assert await nothing(source)
        clock.advance(60)
        (again,) = await take(source)
    assert (again.attempt, again.redelivered) == (2, True)


async def test_a_release_comes_back_uncounted_and_at_once(url: str) -> None:
    async with opened(url) as bus, reading(bus) as source:
        await send(bus, message("a"))
        (delivery,) = await take(source)
        await settle(source, RELEASE, delivery)
        (again,) = await take(source)
        assert (again.message.id, again.attempt) == ("a", 1)
        await settle(source, Release(2), again)
        (again,) = await take(source)
        assert again.attempt == 3


async def test_a_source_that_is_to_be_quiet_reads_no_further_past_what_is_not_for_it(url: str, path: Path) -> None:
    picky = Subscription(topic=TOPIC, group="picky", where=(("region", ("eu",)),))
    async with opened(url, picky) as bus, reading(bus, picky) as source:
        await send(bus, *[message(str(number)) for number in range(2000)])
        receiving = asyncio.create_task(source.receive(1))
        await until(lambda: rows(path) < 2000)
        await source.quiesce()
        assert list(await receiving) == []
    assert rows(path) > 0


async def test_an_ephemeral_group_that_was_taken_away_takes_no_other_with_it(url: str, path: Path) -> None:
    passing = Subscription(topic=TOPIC, group="passing", ephemeral=True)
    async with opened(url) as bus:
        async with reading(bus, passing):
            with contextlib.closing(sqlite3.connect(path)) as connection:  # as by one who took this process for dead
                connection.execute("DELETE FROM groups WHERE name = 'passing'")
                connection.commit()
            await bus.admin.apply(await bus.admin.plan(Topology((TOPIC,), (group("new"),))))  # has its number now
        await send(bus, message("a"))
        async with reading(bus, group("new")) as source:
            assert ids(await take(source)) == ["a"]


async def test_an_ephemeral_pattern_leaves_no_share_of_a_topic_that_came_last(url: str, path: Path) -> None:
    every = Subscription(topic=TopicSpec("late.*", pattern=True), group="passing", ephemeral=True)
    async with opened(url) as bus:
        before = rows(path, "groups")
        async with reading(bus, every):
            await bus.admin.apply(await bus.admin.plan(Topology((TopicSpec("late.one"),), ())))
            assert rows(path, "groups") == before + 1
        assert rows(path, "groups") == before


async def test_settling_nothing_is_nothing(url: str) -> None:
    async with opened(url) as bus, reading(bus) as source:
        await send(bus, message("a"))
        await take(source)
        assert list(await source.settle(())) == []


async def test_settling_twice_in_the_same_way_is_the_same_as_once_and_in_another_it_is_lost(url: str) -> None:
    async with opened(url) as bus, reading(bus) as source:
        await send(bus, message("a"))
        (delivery,) = await take(source)
        assert list(await settle(source, ACK, delivery)) == [DONE]
        assert list(await settle(source, ACK, delivery)) == [DONE]
        assert list(await settle(source, RELEASE, delivery)) == [LOST]


async def test_what_is_held_is_handed_to_nobody_else_and_comes_back_when_its_holder_leaves(url: str) -> None:
    async with opened(url) as one, opened(url) as two, reading(two) as b:
        async with reading(one) as a:
            await send(one, message("a"))
            await take(a)
            assert await nothing(b)
        assert ids(await take(b)) == ["a"]


async def test_a_receive_that_is_cancelled_at_any_step_loses_nothing(url: str) -> None:
    for steps in range(12):
        async with opened(url) as bus:
            await send(bus, message(f"m{steps}"))
            async with reading(bus) as source:
                receiving = asyncio.ensure_future(source.receive(10))
                for _ in range(steps):
                    await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.wait([receiving])
        async with opened(url) as bus, reading(bus) as source:
            found = await take(source)
            assert ids(found) == [f"m{steps}"], steps
            await settle(source, ACK, *found)


async def test_delayed_messages_come_each_at_its_own_time_the_longer_first(url: str) -> None:
    clock = TestClock()
    start = datetime.fromtimestamp(clock.time(), UTC)
    async with opened(url, clock=clock) as bus, reading(bus) as source:
        await send(
            bus,
            message("long", due=start + timedelta(hours=2)),
            message("short", due=start + timedelta(hours=1)),
            message("now"),
        )
        assert ids(await take(source)) == ["now"]
        clock.advance(3600)
        (short,) = await take(source)
        assert short.message.id == "short"
        assert short.message.due is None, "what has been delivered is not due any more"
        clock.advance(3600)
        assert ids(await take(source)) == ["long"]


async def test_many_delayed_messages_do_not_hold_up_the_one_behind_them(url: str) -> None:
    later = NOW + timedelta(hours=1)
    async with opened(url) as bus, reading(bus) as source:
        await send(bus, *(message(f"d{n}", due=later) for n in range(60)), message("now"))
        before = time.monotonic()
        assert ids(await take(source, 10, within=10)) == ["now"]
        assert time.monotonic() - before < 1


async def test_messages_for_another_group_do_not_hold_up_the_one_behind_them(url: str) -> None:
    async with opened(url, group("a"), group("b")) as bus, reading(bus, group("b")) as b:
        await send(bus, *(message(f"a{n}") for n in range(60)), to=Destination("group", TOPIC, "a"))
        await send(bus, message("m"))
        before = time.monotonic()
        assert ids(await take(b, 10, within=20)) == ["m"]
        assert time.monotonic() - before < 1


# ------------------------------------------------------------------ order


async def test_a_key_is_held_by_one_member_at_a_time(url: str) -> None:
    g = group(ordered=True)
    async with opened(url, g) as one, opened(url, g) as two, reading(one, g) as a, reading(two, g) as b:
        await send(one, message("k1", key="k"))
        held = await take(a)
        await send(one, message("k2", key="k"), message("j1", key="j"))
        assert ids(await take(b)) == ["j1"]
        assert await nothing(b)
        await settle(a, ACK, *held)
        assert ids(await take(b)) == ["k2"]


async def test_a_retry_keeps_its_keys_later_messages_back_whoever_asks(url: str) -> None:
    g, clock = group(ordered=True), TestClock()
    async with opened(url, g, clock=clock) as one, opened(url, g, clock=clock) as two:  # noqa: SIM117
        async with reading(one, g) as a, reading(two, g) as b:
            await send(one, *(message(f"k{n}", key="k") for n in range(4)))
            first, *followers = await take(a)
            await a.settle([Settled(first, defer(60)), *(Settled(f, RELEASE) for f in followers)])
            await send(one, message("k4", key="k"))
            assert await nothing(a)
            assert await nothing(b)
            clock.advance(60)
            assert ids(await take(b)) == ["k0", "k1", "k2", "k3", "k4"]


async def test_a_short_retry_comes_when_it_is_due_though_more_of_its_key_lies_unfetched(url: str) -> None:
    g = group(ordered=True)
    async with opened(url, g) as bus, reading(bus, g) as source:
        await send(bus, *(message(f"k{n}", key="k") for n in range(5)))
        await settle(source, defer(0.05), *await take(source, 1))
        before = time.monotonic()
        assert ids(await take(source, 1)) == ["k0"]
        assert time.monotonic() - before < 0.8


async def test_what_is_still_out_behind_a_retry_is_not_passed_by_what_came_later(url: str) -> None:
    line = group(ordered=True)
    async with opened(url, line) as one, opened(url, line) as two, reading(one, line) as a, reading(two, line) as b:
        await send(two, message("a", key="k"), message("b", key="k"))
        (first,), (second,) = await take(a, 1), await take(a, 1)
        await send(two, message("c", key="k"))
        (third,), _ = await asyncio.gather(take(a), settle(a, defer(), first))  # both in one transaction
        await send(two, message("d", key="k"))
        assert await nothing(b), "their release takes a moment longer"
        assert list(await settle(a, RELEASE, second, third)) == [DONE, DONE]
        assert ids(await take(b)) == ["a", "b", "c", "d"]


async def test_a_small_limit_takes_a_key_up_where_it_was_left(url: str) -> None:
    g = group(ordered=True)
    seen: list[str] = []
    async with opened(url, g) as one, opened(url, g) as two, reading(one, g) as a, reading(two, g) as b:
        await send(one, *(message(f"k{n}", key="k") for n in range(10)))
        released = await take(a)
        await settle(a, RELEASE, *released)
        for _ in range(10):
            for source in (a, b):
                if len(seen) < 10:
                    (delivery,) = await take(source, 1)
                    seen.append(delivery.message.id)
                    await settle(source, ACK, delivery)
    assert seen == [f"k{n}" for n in range(10)]


async def test_two_applications_on_one_file_keep_the_order_of_every_key_between_them(url: str) -> None:
    topic = Topic("numbers", tuple[str, int], key=lambda value: value[0])
    seen: dict[str, list[int]] = {}
    running: set[str] = set()
    failed: set[tuple[str, int]] = set()

    def service() -> App:
        app = App("service", settings=Settings(url=f"{url}?sync=normal"))

        @app.consume(topic, ordered=True, concurrency=4, window=8, retry=Retry.fixed(5, delay=0.02))
        async def handle(value: tuple[str, int]) -> None:
            key, number = value
            assert key not in running
            running.add(key)
            try:
                await asyncio.sleep(0.001)
                if number % 10 == 3 and value not in failed:
                    failed.add(value)
                    raise ValueError
                seen.setdefault(key, []).append(number)
            finally:
                running.discard(key)

        return app

    one, two = service(), service()
    async with one.running():
        for start in (0, 20, 40):
            await one.publish_many(topic, [(f"k{key}", start + n) for n in range(20) for key in range(4)])
            if start == 20:
                async with two.running():
                    await until(lambda: sum(map(len, seen.values())) > 100, within=15)
        await until(lambda: sum(map(len, seen.values())) == 240, within=15)
    assert all(numbers == list(range(60)) for numbers in seen.values())


async def test_what_an_ordered_consumer_left_is_handled_after_ordered_is_dropped(url: str) -> None:
    g = group(ordered=True)
    async with opened(url, g) as bus:
        async with reading(bus, g) as source:
            await send(bus, *(message(f"k{n}", key="k") for n in range(5)))
            assert len(await take(source)) == 5
        seen: list[str] = []
        async with reading(bus, group(ordered=False)) as source:
            with contextlib.suppress(TimeoutError):
                while len(seen) < 5:
                    found = await take(source, within=1.5)
                    seen += ids(found)
                    await settle(source, ACK, *found)
    assert sorted(seen) == [f"k{n}" for n in range(5)]


async def test_an_unreadable_message_does_not_close_its_key(url: str, path: Path) -> None:
    g = group(ordered=True)
    async with opened(url, g) as bus, reading(bus, g) as source:
        await send(bus, *(message(f"k{n}", key="k") for n in range(3)))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE messages SET message = 'garbage' WHERE seq = 1")
            connection.commit()
        deliveries = await take(source)
        assert len(deliveries) == 3
        await settle(source, RELEASE, *deliveries)
        (unreadable,) = await take(source, 1)
        assert unreadable.message.body == b"1"
        await settle(source, DeadLetter(record("decode_error")), unreadable)
        assert ids(await take(source)) == ["k1", "k2"]


def record(reason: str) -> DeadLetterRecord:
    return DeadLetterRecord(reason=reason, topic="things", group="g", attempts=1, at=NOW)


# ------------------------------------------------------------------ members that die

_HOLD = """
    import asyncio, sys
    sys.path.insert(0, {root!r})
    from tests.unit.test_embedded import *

    async def main():
        g = group(ordered={ordered})
        async with opened({url!r}, g) as bus:
            {body}
            print("holding", flush=True)
            await asyncio.sleep(60)

    asyncio.run(main())
"""
_TAKE = "way = bus.source(g, window=100, notify=print); assert await take(await way.__aenter__(), {limit})"
_TAKE_DEAD = "way = bus.dead_letters(g); assert await (await way.__aenter__()).receive({limit})"


async def hold_and_die(url: str, body: str = _TAKE, *, ordered: bool = False, limit: int = 100) -> None:
    """A process that takes messages and is killed with them."""
    root = str(Path(__file__).parents[2])
    code = textwrap.dedent(_HOLD).format(root=root, url=url, ordered=ordered, body=body.format(limit=limit))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"holding\n"
    process.kill()
    await process.wait()
    process._transport.close()  # type: ignore[attr-defined]


async def test_what_a_dead_member_held_is_taken_over_and_its_first_death_is_not_held_against_it(url: str) -> None:
    async with opened(url) as bus:
        await send(bus, *(message(f"m{n}") for n in range(3)))
        await hold_and_die(url)
        seen: list[Delivery[Any]] = []
        async with reading(bus) as source:
            while len(seen) < 3:
                found = await take(source, within=3)
                seen += found
                await settle(source, ACK, *found)
    assert sorted(ids(seen)) == ["m0", "m1", "m2"]
    assert all(delivery.attempt == 1 and delivery.redelivered for delivery in seen)


async def test_suspects_are_handed_out_one_at_a_time_and_waiting_for_one_takes_no_processor(url: str) -> None:
    async with opened(url) as bus:
        await send(bus, *(message(f"m{n}") for n in range(3)))
        await hold_and_die(url)
        async with reading(bus) as source:
            first = await take(source, within=3)
            assert len(first) == 1
            before = time.process_time()
            assert await nothing(source, during=0.8)
            assert time.process_time() - before < 0.2
            await settle(source, ACK, *first)
            assert len(await take(source)) == 1


async def test_a_suspect_of_an_ordered_group_is_handed_out_before_what_is_behind_it(url: str) -> None:
    g = group(ordered=True)
    async with opened(url, g) as bus:
        await send(bus, *(message(f"k{n}", key="k") for n in range(3)))
        await hold_and_die(url, ordered=True, limit=2)
        await send(bus, message("k3", key="k"))
        seen: list[str] = []
        async with reading(bus, g) as source:
            while len(seen) < 4:
                found = await take(source, within=3)
                seen += ids(found)
                await settle(source, ACK, *found)
    assert seen == ["k0", "k1", "k2", "k3"]


async def test_dead_letters_a_dead_process_had_taken_can_be_taken_again(url: str) -> None:
    async with opened(url) as bus:
        await send(bus, message("a", dead=record("rejected")), to=Destination("dead", TOPIC, "g"))
        await hold_and_die(url, _TAKE_DEAD)
        end = time.monotonic() + 3
        found: Sequence[Delivery[Any]] = ()
        while not found and time.monotonic() < end:
            async with bus.dead_letters(group()) as dead:
                found = await dead.receive(10)
            await asyncio.sleep(0.1)
    assert ids(found) == ["a"]


async def test_a_member_whose_heartbeat_is_overdue_loses_what_it_holds_and_cannot_settle_it(url: str) -> None:
    short = group(lease=0.5)
    async with opened(url) as one, opened(url) as two, reading(one, short) as a, reading(two, short) as b:
        await send(one, message("a"))
        (held,) = await take(a)
        (again,) = await take(b, within=4)
        assert again.message.id == "a"
        assert list(await settle(a, ACK, held)) == [LOST]
        assert list(await a.extend([held])) == [LOST]
        assert list(await settle(b, ACK, again)) == [DONE]


async def test_extending_keeps_a_lease(url: str) -> None:
    short = group(lease=2.0)
    async with opened(url) as one, opened(url) as two, reading(one, short) as a, reading(two, short) as b:
        await send(one, message("a"))
        (held,) = await take(a)
        other = asyncio.ensure_future(take(b, within=20))
        for _ in range(13):
            await asyncio.sleep(0.2)
            await a.extend([held])
        assert not other.done()
        assert list(await settle(a, ACK, held)) == [DONE]
        other.cancel()
        await asyncio.wait([other])


async def test_what_was_given_up_while_a_stranger_had_the_file_locked_comes_again(url: str, path: Path) -> None:
    """The member outlives it: another of its groups has a longer lease."""
    short, long = group("short", lease=0.4), group("long")
    cut, seen = asyncio.Event(), list[str]()

    async def handler(delivery: Delivery[Any]) -> None:
        seen.append(delivery.message.id)
        try:
            await asyncio.sleep(0 if cut.is_set() else 60)
        except asyncio.CancelledError:
            cut.set()
            raise

    async with opened(url, short, long) as bus, reading(bus, long) as other:
        await send(bus, message("a"))
        assert ids(await take(other)) == ["a"]
        consumer = Consumer(bus, short, handler, lambda item: item.body, ConsumerOptions(), clock=SystemClock())
        await consumer.start()
        await until(lambda: seen)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            await until(cut.is_set)
            stranger.execute("ROLLBACK")
        await until(lambda: len(seen) == 2)
        await consumer.stop(1.0)


# ------------------------------------------------------------------ dead letters


async def test_dead_letters_are_kept_apart_by_group_and_taken_once(url: str) -> None:
    async with opened(url, group("a"), group("b")) as bus:
        letters = [message(f"m{n}", headers={"h": "v"}, dead=record("rejected")) for n in range(3)]
        await send(bus, *letters, to=Destination("dead", TOPIC, "a"))
        page = await bus.admin.browse(group("a"), limit=2)
        assert [item.id for item in page.messages] == ["m0", "m1"]
        rest = await bus.admin.browse(group("a"), after=page.after, limit=2)
        assert ([item.id for item in rest.messages], rest.after) == (["m2"], None)
        assert not (await bus.admin.browse(group("b"))).messages
        async with bus.dead_letters(group("a")) as dead, bus.dead_letters(group("a")) as other:
            taken = list(await dead.receive(2))
            assert ids(taken) == ["m0", "m1"]
            assert ids(await other.receive(5)) == ["m2"]
            await settle(dead, ACK, taken[0])
            await settle(dead, RELEASE, taken[1])
            assert await dead.receive(5) == []
        assert [item.id for item in (await bus.admin.browse(group("a"))).messages] == ["m1", "m2"]


async def test_the_backlog_can_be_told_though_its_oldest_message_is_unreadable(url: str, path: Path) -> None:
    async with opened(url) as bus:
        await send(bus, message("a"))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE messages SET message = 'garbage'")
            connection.commit()
        assert (await bus.admin.backlog(group())).ready.value == 1


async def test_what_waits_behind_a_retry_of_its_key_is_not_called_ready(url: str) -> None:
    g = group(ordered=True)
    async with opened(url, g) as bus, reading(bus, g) as source:
        await send(bus, *(message(f"k{n}", key="k") for n in range(3)))
        first, *followers = await take(source)
        await source.settle([Settled(first, defer(60)), *(Settled(f, RELEASE) for f in followers)])
        backlog = await bus.admin.backlog(g)
    assert backlog.ready.value == 0
    assert backlog.delayed.value == 3


# ------------------------------------------------------------------ sending


async def test_a_message_that_cannot_be_stored_takes_no_neighbour_down(url: str) -> None:
    async with opened(url) as bus, bus.sink(Destination("topic", TOPIC)) as sink:
        bad = message("bad", key="\ud800")
        good, refused = await sink.send([message("good"), bad], deadline=time.monotonic() + 5)
    assert type(good) is Confirmed
    assert type(refused) is not Confirmed


async def test_a_file_locked_by_another_program_is_told_to_all_who_wait_at_once(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "FOREIGN_PATIENCE", 0.2)
    async with opened(url) as bus:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            before = time.monotonic()
            results = await asyncio.gather(*(_send_one(bus, f"m{n}") for n in range(8)))
            assert time.monotonic() - before < 1.4
            other.execute("ROLLBACK")
        assert {type(result).__name__ for result in results} == {"Refused"}
        assert all(result.transient for result in results)
        assert type(await _send_one(bus, "after")) is Confirmed


async def _send_one(bus: EmbeddedAdapter, ident: str) -> Any:
    async with bus.sink(Destination("topic", TOPIC)) as sink:
        return (await sink.send([message(ident)], deadline=time.monotonic() + 5))[0]


async def test_a_source_whose_file_is_damaged_while_it_reads_says_so_as_our_error(url: str, path: Path) -> None:
    async with opened(url) as bus, reading(bus) as source:
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("ALTER TABLE entries RENAME TO something_else")
            other.commit()
        await send(bus, message("a"))
        with pytest.raises(BrokerError):
            await take(source)
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("DELETE FROM messages")
            other.commit()
        with pytest.raises(BrokerError):
            await take(source)


async def test_the_log_does_not_grow_without_bound_while_readers_overlap(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointing, "LOG_FRAMES", 256)
    monkeypatch.setattr(checkpointing, "LOG_LIMIT", 2 << 20)
    monkeypatch.setattr(checkpointing, "EMPTY_PAUSE", 0.05)
    largest = 0
    done = asyncio.Event()

    async def read_on() -> None:  # two readers take turns, so that there is never none
        readers = [sqlite3.connect(path, isolation_level=None) for _ in range(2)]
        try:
            turn = 0
            while not done.is_set():
                readers[turn].execute("BEGIN")
                readers[turn].execute("SELECT count(*) FROM messages").fetchone()
                turn = 1 - turn
                await asyncio.sleep(0.01)
                if readers[turn].in_transaction:
                    readers[turn].execute("COMMIT")
        finally:
            for reader in readers:
                reader.close()

    async with opened(f"{url}?sync=normal") as bus, bus.sink(Destination("topic", TOPIC)) as sink:
        reading_on = asyncio.ensure_future(read_on())
        wal = Path(f"{path}-wal")
        for _ in range(4000):
            await sink.send([message("m", body=bytes(20_000))], deadline=time.monotonic() + 5)
            largest = max(largest, wal.stat().st_size)
        done.set()
        await reading_on
    assert largest < 45 << 20, f"80 MB were written, and the log grew to {largest >> 10} KiB"


async def test_the_turn_is_one_at_a_time_also_between_writing_and_copying_the_log(url: str) -> None:
    async with opened(url) as bus:
        await bus._engine._helper.take(bus._engine._turn)
        second = asyncio.ensure_future(bus._engine._helper.take(bus._engine._turn))
        try:
            await never(second.done, during=0.1)
        finally:
            bus._engine._turn.give()
        await until(second.done)
        bus._engine._turn.give()


async def test_an_idle_consumer_takes_no_processor(url: str) -> None:
    async with opened(url) as bus, reading(bus) as source:
        before = time.process_time()
        assert await nothing(source, during=0.8)
        assert time.process_time() - before < 0.1


async def test_a_publish_in_one_process_wakes_a_consumer_in_another_member_at_once(url: str) -> None:
    async with opened(url) as one, opened(url) as two, reading(two) as source:
        receiving = asyncio.ensure_future(source.receive(10))
        await never(receiving.done, during=0.1)
        await send(one, message("a"))
        before = time.monotonic()
        assert ids(await receiving) == ["a"]
        assert time.monotonic() - before < 0.8


async def test_what_was_held_in_a_file_that_was_copied_away_is_handed_out_in_the_copy(url: str, tmp_path: Path) -> None:
    """The members of the original cannot have followed: nobody there would ever settle what they hold."""
    copy = tmp_path / "copy.db"
    async with opened(url) as bus, reading(bus) as source:
        await send(bus, message("a"))
        assert ids(await take(source)) == ["a"]
        with contextlib.closing(sqlite3.connect(tmp_path / "bus.db")) as db:
            db.execute("VACUUM INTO ?", (str(copy),))
        async with opened(f"sqlite:///{copy}") as other, reading(other) as taken:
            assert ids(await take(taken)) == ["a"]


@pytest.mark.parametrize(("query", "flushed"), [("", True), ("?sync=full", True), ("?sync=normal", False)])
async def test_a_publish_is_flushed_to_the_disk_and_a_claim_is_not(url: str, query: str, flushed: bool) -> None:
    """By what SQLite is told before each commit: FULL flushes, NORMAL does not."""
    async with opened(url + query) as bus, reading(bus) as source:
        told: list[str] = []
        bus._engine._writer.set_trace_callback(told.append)
        await send(bus, message("a"))
        published = [line for line in told if "synchronous" in line or "INSERT INTO messages" in line]
        await take(source)
        claimed = [line for line in told if "synchronous" in line or "INSERT INTO entries" in line][-2:]
    assert (published[0] == "PRAGMA synchronous = FULL") is flushed
    if flushed:
        assert "INSERT INTO messages" in published[1]
        assert claimed[0] == "PRAGMA synchronous = NORMAL"
        assert "INSERT INTO entries" in claimed[1]


async def test_a_lease_begins_when_a_message_is_fetched(url: str) -> None:
    async with opened(url, group(lease=5.0)) as bus, reading(bus, group(lease=5.0)) as source:
        await send(bus, message("m"))
        before = time.monotonic()
        (delivery,) = await take(source)
        assert before + 5.0 <= delivery.lease_until <= time.monotonic() + 5.0


async def test_a_lease_is_not_over_because_it_took_long_to_get_the_turn(url: str) -> None:
    short = group(lease=0.2)
    async with opened(url) as bus, reading(bus, short) as source:
        await send(bus, message("m"))
        await bus._engine._helper.take(bus._engine._turn)
        begun = time.monotonic()
        receiving = asyncio.ensure_future(source.receive(1))
        try:
            await until(lambda: time.monotonic() > begun + 2 * short.lease)
            assert not receiving.done()
            given = time.monotonic()
        finally:
            bus._engine._turn.give()
        (delivery,) = await receiving
        assert delivery.lease_until >= given + short.lease
