"""What a topic promises to those who publish: ids, a limited length, tombstones, nobody there, brokers by name."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.stand_ins import until
from waybill import (
    App,
    BrokerOptions,
    ConfigurationError,
    Confirmed,
    EncodeError,
    PublishRefused,
    Refused,
    Settings,
    Tombstone,
    Topic,
    TopologyMismatch,
)


@dataclass
class Event:
    number: int
    text: str = ""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bus.db'}"


def on(url: str, name: str = "a") -> App:
    return App(name, settings=Settings(url=url, shutdown_grace=1))


# ---------------------------------------------------------------- ids


async def test_a_second_message_with_the_same_id_is_confirmed_and_not_stored(url: str) -> None:
    events = Topic("events", Event, id=lambda event: f"e-{event.number}", dedup_window=timedelta(hours=1))
    app, got = on(url), list[int]()

    @app.consume(events)
    async def handle(event: Event) -> None:
        got.append(event.number)

    async with app.running():
        first = await app.publish(events, Event(1))
        second = await app.publish(events, Event(1))
        results = await app.publish_many(events, [Event(2), Event(2), Event(3)])
        await until(lambda: sorted(got) == [1, 2, 3])
    async with app.running():  # and after a restart
        third = await app.publish(events, Event(1))
        await asyncio.sleep(0.05)  # it must not arrive meanwhile
    assert (first.id, second.id, third.id) == ("e-1",) * 3
    assert [type(result) for result in results] == [Confirmed] * 3
    assert sorted(got) == [1, 2, 3]


async def test_the_same_id_with_another_body_is_refused_and_not_dropped_in_silence(url: str) -> None:
    events = Topic("events", Event, id=lambda event: f"e-{event.number}", dedup_window=60, groups=["g"])
    app = on(url)
    async with app.running():
        await app.publish(events, Event(1, "one"))
        with pytest.raises(PublishRefused, match="another body"):
            await app.publish(events, Event(1, "other"))


async def test_an_id_may_come_again_when_the_window_is_over() -> None:
    events = Topic("events", Event, id=lambda event: f"e-{event.number}", dedup_window=60)
    app, got = App("a"), list[int]()

    @app.consume(events)
    async def handle(event: Event) -> None:
        got.append(event.number)

    async with app.test() as bus:
        await bus.publish(events, Event(1))
        await bus.advance(59)
        await bus.publish(events, Event(1))
        await bus.advance(2)
        await bus.publish(events, Event(1))
        await bus.drain()
    assert got == [1, 1]


@pytest.mark.parametrize("bad", ["", "x" * 257, "two\nlines", "\x00", None, 7])
async def test_an_id_that_is_none_is_refused_to_its_publisher_alone(bad: object) -> None:
    events = Topic("events", Event, id=lambda _: bad, unrouted="accept")  # type: ignore[arg-type,return-value]
    app = App("a", settings=Settings(url="memory://"))
    async with app.running():
        with pytest.raises(EncodeError, match="1 to 256 printable"):
            await app.publish(events, Event(1))


# ---------------------------------------------------------------- a limited length


async def test_a_full_topic_refuses_more_until_something_is_handled(url: str) -> None:
    limited = Topic("limited", Event, max_length=5, groups=["slow", "idle"])
    app, gate, handled = on(url, "slow"), asyncio.Event(), list[int]()

    @app.consume(limited, concurrency=1)
    async def handle(event: Event) -> None:
        await gate.wait()
        handled.append(event.number)

    async with app.running():
        results = await app.publish_many(limited, [Event(n) for n in range(8)])
        assert [type(result) for result in results] == [Confirmed] * 5 + [Refused] * 3
        assert all(result.transient for result in results if isinstance(result, Refused))
        gate.set()
        await until(lambda: len(handled) == 5)
        with pytest.raises(PublishRefused, match="max_length"):
            await app.publish(limited, Event(9))  # the other group has not handled any: it is the fullest that counts
    idle, drained = on(url, "idle"), list[int]()

    @idle.consume(limited)
    async def drain(event: Event) -> None:
        drained.append(event.number)

    async with idle.running():
        await until(lambda: len(drained) == 5)
        await until(lambda: _accepted(idle, limited))


def _accepted(app: App, topic: Topic[Event]) -> bool:
    return not [group for group in _waiting(app) if group >= (topic.spec.max_length or 0)]


def _waiting(app: App) -> list[int]:
    assert app.settings is not None
    with sqlite3.connect(str(app.settings.url).removeprefix("sqlite:///")) as connection:
        return [waiting for (waiting,) in connection.execute("SELECT waiting FROM groups")]


async def test_a_limit_that_comes_later_counts_what_is_there_already(url: str) -> None:
    plain, limited = Topic("t", Event, groups=["g"]), Topic("t", Event, groups=["g"], max_length=3)
    async with (app := on(url)).running():
        await app.publish_many(plain, [Event(n) for n in range(5)])
    other = on(url)
    other.consume(limited, group="g", concurrency=1)(_wait)
    with pytest.raises(TopologyMismatch, match="max_length: none there, 3 in the code"):
        async with other.running():
            pass
    async with other.admin() as admin:
        await admin.apply(await admin.plan(other.topology), allow=["topic t"])
    async with other.running():
        with pytest.raises(PublishRefused, match="3 messages wait"):
            await other.publish(limited, Event(9))


async def _wait(_: Event) -> None:
    await asyncio.sleep(60)


async def test_keeping_longer_is_altered_and_keeping_less_must_be_named(url: str) -> None:
    def declared(days: int) -> App:
        app = on(url)
        app.consume(Topic("t", Event, retention=timedelta(days=days)))(_wait)
        return app

    async with declared(2).running():
        pass
    for days, action in ((7, "alter"), (2, "differs")):
        app = declared(days)
        async with app.admin() as admin:
            plan = await admin.plan(app.topology)
            assert [(change.action, change.what) for change in plan.changes] == [(action, "topic t")]
            await admin.apply(plan)
            assert bool((await admin.plan(app.topology)).changes) is (action == "differs")


async def test_what_a_topic_kept_goes_when_its_time_is_over() -> None:
    kept = Topic("kept", Event, retention=3600)
    app, got = App("a"), list[int]()

    @app.consume(kept)
    async def handle(event: Event) -> None:
        got.append(event.number)

    async with app.test() as bus:
        await bus.publish(kept, Event(1))
        await bus.drain()
        assert await _stored(app) == 1
        await bus.advance(3601)
        await bus.publish(kept, Event(2))  # which is when it is looked for
        await bus.drain()
        assert await _stored(app) == 1
    assert got == [1, 2]


async def test_a_topic_that_keeps_and_remembers_no_longer_leaves_nothing_of_it(tmp_path: Path, url: str) -> None:
    handled: list[int] = []

    def declared(topic: Topic[Event]) -> App:
        app = on(url)

        @app.consume(topic)
        async def handle(event: Event) -> None:
            handled.append(event.number)

        return app

    keeping = Topic("t", Event, retention=3600, dedup_window=3600)
    async with (app := declared(keeping)).running():
        await app.publish_many(keeping, [Event(1), Event(2)])
        await until(lambda: len(handled) == 2)
    plain = declared(Topic("t", Event))
    async with plain.admin() as admin:
        await admin.apply(await admin.plan(plain.topology), allow=["topic t"])
    with closing(sqlite3.connect(tmp_path / "bus.db")) as connection:
        for table in ("messages", "seen"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def _stored(app: App) -> int:
    adapter = app._running().brokers.of(Topic("kept", Event).spec)
    engine = adapter._inner._engine  # type: ignore[attr-defined]
    count: int = engine.reader.execute("SELECT count(*) FROM messages").fetchone()[0]
    return count


# ---------------------------------------------------------------- tombstones


async def test_a_tombstone_arrives_as_one_in_its_keys_order() -> None:
    profiles = Topic.with_tombstones("profiles", Event, key=lambda event: f"u{event.number}")
    app, got = App("a"), list[Event | Tombstone]()

    @app.consume(profiles, ordered=True)
    async def handle(value: Event | Tombstone) -> None:
        got.append(value)

    async with app.test() as bus:
        await bus.publish(profiles, Event(1))
        await bus.publish(profiles, Tombstone("u1"))
        await bus.publish(profiles, Event(1, "back"))
        await bus.drain()
        assert bus.published(profiles) == [Event(1), Tombstone("u1"), Event(1, "back")]
        assert [message.key for message in bus.messages(profiles)] == ["u1"] * 3
    assert got == [Event(1), Tombstone("u1"), Event(1, "back")]


async def test_a_topic_without_tombstones_refuses_one_and_dead_letters_a_foreign_one() -> None:
    plain = Topic("profiles", Event, key=lambda event: "k")
    others = Topic.with_tombstones("profiles", Event, key=lambda event: "k")
    app, got = App("a"), list[Event]()

    @app.consume(plain)
    async def handle(event: Event) -> None:
        got.append(event)

    async with app.test() as bus:
        with pytest.raises(EncodeError, match="with_tombstones"):
            await bus.publish(plain, Tombstone("k"))  # type: ignore[arg-type]
        await bus.publish(others, Tombstone("k"))
        await bus.publish(plain, Event(2))
        await bus.drain()
        assert [letter.reason for letter in bus.dead_letters(plain)] == ["decode_error"]
    assert got == [Event(2)]


# ---------------------------------------------------------------- nobody there


async def test_a_message_that_nobody_would_get_is_refused(url: str) -> None:
    app = on(url)
    async with app.running():
        with pytest.raises(PublishRefused, match=r"no group shares lonely.*groups=\[…\].*unrouted='accept'"):
            await app.publish(Topic("lonely", Event), Event(1))
        (result,) = await app.publish_many(Topic("lonely", Event), [Event(1)])
        assert isinstance(result, Refused)
        assert not result.transient
        await app.publish(Topic("declared", Event, groups=["later"]), Event(1))
        await app.publish(Topic("open", Event, unrouted="accept"), Event(1))


# ---------------------------------------------------------------- options of one broker


@dataclass(frozen=True)
class Kafkaish(BrokerOptions):
    partitions: int = 1


@dataclass(frozen=True)
class Rabbitish(BrokerOptions):
    quorum: int = 3


def test_options_of_a_broker_are_kept_with_the_topic_and_replaced_by_kind() -> None:
    plain = Topic("t", Event, key=lambda event: "k", groups=["g"], id=lambda event: "i", retention=5)
    both = plain.on(Kafkaish(12), Rabbitish())
    again = both.on(Kafkaish(24))
    assert plain.spec.options == ()
    assert both.spec.options == (Kafkaish(12), Rabbitish(3))
    assert again.spec.options == (Rabbitish(3), Kafkaish(24))
    assert (again.name, again.groups, again.key, again.id) == (plain.name, plain.groups, plain.key, plain.id)
    assert again.spec.retention == 5


async def test_a_topic_with_options_of_another_broker_runs_here(url: str) -> None:
    app = on(url)
    async with app.running():
        await app.publish(Topic("t", Event, groups=["g"]).on(Kafkaish(12)), Event(1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Topic("t", Event).on(Kafkaish(1), Kafkaish(2)),
        lambda: Topic("t", Event).on("partitions=12"),  # type: ignore[arg-type]
        lambda: Topic("t", Event, retention=0),
        lambda: Topic("t", Event, retention=-1),
        lambda: Topic("t", Event, dedup_window=0),
        lambda: Topic("t", Event, max_length=0),
        lambda: Topic("t", Event, unrouted="drop"),  # type: ignore[arg-type]
        lambda: Topic("t", Event, id="event_id"),  # type: ignore[arg-type]
        lambda: Topic("t", Event, broker="not a name"),
    ],
)
def test_topics_that_cannot_work_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        make()


# ---------------------------------------------------------------- several brokers


async def test_topics_of_several_brokers_in_one_application(tmp_path: Path) -> None:
    here = Topic("here", Event, key=lambda event: "k")
    there = Topic("there", Event, key=lambda event: "k", broker="analytics")
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    app = App("a", settings=Settings(url=f"sqlite:///{one}", brokers={"analytics": f"sqlite:///{two}"}))
    got: list[tuple[str, int]] = []

    @app.consume(here)
    async def forward(event: Event) -> None:
        got.append(("here", event.number))
        await app.publish(there, event)

    @app.consume(there)
    async def analyse(event: Event) -> None:
        got.append(("there", event.number))

    async with app.running():
        await app.publish(here, Event(1))
        await until(lambda: got == [("here", 1), ("there", 1)])
        async with app.admin() as admin:
            for subscription in app.topology.subscriptions:
                assert (await admin.backlog(subscription)).ready.value == 0
    for path, name in ((one, "here"), (two, "there")):
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT name FROM topics").fetchall() == [(name,)]


async def test_topics_of_one_name_on_two_brokers_are_two(tmp_path: Path) -> None:
    here, there = f"sqlite:///{tmp_path / 'here.db'}", f"sqlite:///{tmp_path / 'there.db'}"
    bridge, got = App("bridge", settings=Settings(url=here, brokers={"there": there})), list[int]()
    ours = Topic("events", Event, groups=["keeper"])
    theirs = Topic("events", Event, groups=["keeper"], broker="there")
    async with bridge.running():
        await bridge.publish(ours, Event(1, "a"))
        await bridge.publish(theirs, Event(2, "b"))

    keeper = App("keeper", settings=Settings(url=there))

    @keeper.consume(Topic("events", Event))
    async def keep(event: Event) -> None:
        got.append(event.number)

    async with keeper.running():
        await until(lambda: got)
    assert got == [2]


async def test_a_broker_that_no_setting_names_is_an_error_with_the_fix(tmp_path: Path) -> None:
    app = App("a", settings=Settings(url=f"sqlite:///{tmp_path / 'bus.db'}"))
    app.consume(Topic("there", Event, broker="analytics"))(_wait)
    with pytest.raises(ConfigurationError, match=r"WAYBILL_BROKERS__ANALYTICS"):
        async with app.running():
            pass


async def test_in_a_test_one_memory_stands_for_all_brokers() -> None:
    there = Topic("there", Event, broker="analytics")
    app, got = App("a"), list[int]()

    @app.consume(there)
    async def analyse(event: Event) -> None:
        got.append(event.number)

    async with app.test() as bus:
        await bus.publish(there, Event(1))
        await bus.drain()
    assert got == [1]
