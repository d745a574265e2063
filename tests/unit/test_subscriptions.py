"""Which messages a group gets: several topics, patterns, header filters, groups that come and go, what they begin with."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.stand_ins import never, until
from waybill import App, CapabilityError, ConfigurationError, Delivery, Settings, Topic, TopicPattern, TopologyMismatch
from waybill.errors import DestinationMissing
from waybill.topology import fits, matches


@dataclass
class Order:
    number: int


@dataclass
class Refund:
    amount: int


orders = Topic("orders.placed", Order, key=lambda order: str(order.number % 3))
refunds = Topic("orders.refunded", Refund, key=lambda refund: "r")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bus.db'}"


def on(url: str, name: str = "billing") -> App:
    return App(name, settings=Settings(url=url, shutdown_grace=1))


def rows(url: str, table: str) -> int:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.close()
    return count


# ---------------------------------------------------------------- several topics


async def test_one_handler_on_two_topics_gets_both_and_knows_which() -> None:
    app, got = App("billing"), list[tuple[str, object]]()

    @app.consume(orders, refunds)
    async def either(value: Order | Refund, delivery: Delivery[Order | Refund]) -> None:
        got.append((delivery.topic, value))

    async with app.test() as bus:
        await bus.publish(orders, Order(1))
        await bus.publish(refunds, Refund(2))
        await bus.drain()
    assert sorted(got, key=str) == [("orders.placed", Order(1)), ("orders.refunded", Refund(2))]


async def test_topics_of_one_handler_share_its_concurrency_and_none_starves() -> None:
    app = App("billing", settings=Settings(url="memory://"))
    running: set[int] = set()
    most, handled = 0, list[str]()

    @app.consume(orders, refunds, concurrency=3)
    async def either(value: Order | Refund, delivery: Delivery[Order | Refund]) -> None:
        nonlocal most
        running.add(id(delivery))
        most = max(most, len(running))
        await asyncio.sleep(0.002)
        running.discard(id(delivery))
        handled.append(delivery.topic)

    async with app.running():
        await app.publish_many(orders, [Order(n) for n in range(200)])
        await app.publish_many(refunds, [Refund(n) for n in range(5)])
        await until(lambda: handled.count(refunds.name) == 5)
        assert handled.count(orders.name) < 150  # the busy topic did not have to be empty first
        await until(lambda: len(handled) == 205)
    assert most == 3


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("pattern", "name", "fit"),
    [
        ("orders.*", "orders.placed", True),
        ("orders.*", "orders", False),
        ("orders.*", "orders.eu.placed", False),
        ("orders.#", "orders.eu.placed", True),
        ("orders.#", "orders", True),
        ("*.placed", "orders.placed", True),
        ("#.placed", "orders.eu.placed", True),
        ("#", "anything.at.all", True),
        ("orders.*.placed", "orders.eu.paid", False),
        ("orders", "orders", True),
    ],
)
def test_patterns(pattern: str, name: str, fit: bool) -> None:
    assert matches(pattern, name) is fit


@pytest.mark.parametrize("pattern", ["orders", "", "orders..*", "orders.*x", "a b.*", "*." * 80])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError):
        TopicPattern(pattern, Order)


async def test_a_pattern_gets_topics_that_are_created_later_from_their_first_message_on(url: str) -> None:
    got: list[tuple[str, int]] = []
    app = on(url, "audit")

    @app.consume(TopicPattern("orders.*", Order))
    async def audit(order: Order, delivery: Delivery[Order]) -> None:
        got.append((delivery.topic, order.number))

    publisher = on(url, "shop")
    async with app.running(), publisher.running():
        await publisher.publish(orders, Order(1))
        await until(lambda: got == [("orders.placed", 1)])
        later = Topic("orders.shipped", Order)
        await publisher.publish(later, Order(2))  # nobody named this topic before: the pattern's group has its share
        await until(lambda: len(got) == 2)
        with pytest.raises(Exception, match="no group shares payments"):
            await publisher.publish(Topic("payments", Order), Order(3))
    assert got[1] == ("orders.shipped", 2)


@pytest.mark.parametrize("pattern_first", [True, False])
def test_a_pattern_and_a_topic_that_fits_are_two_groups(pattern_first: bool) -> None:
    app, every = App("billing"), TopicPattern("orders.*", Order)
    first, second = (every, orders) if pattern_first else (orders, every)
    app.consume(first)(_nothing)
    with pytest.raises(ConfigurationError, match="a group of its own"):
        app.consume(second)(_nothing)
    app.consume(second, group="audit")(_nothing)


async def test_a_key_that_is_handled_in_one_topic_of_a_pattern_holds_up_no_other_topic(url: str) -> None:
    app, got = on(url), list[int]()
    one, two = (Topic(f"orders.{name}", Order, key=lambda _: "same") for name in ("one", "two"))

    @app.consume(TopicPattern("orders.*", Order, key=lambda _: "same"), ordered=True)
    async def handle(order: Order) -> None:
        if order.number == 0:
            await until(lambda: got == [1, 2, 3])  # and not only when this one has ended
        got.append(order.number)

    async with app.running():
        await app.publish(one, Order(0))
        await app.publish_many(two, [Order(1), Order(2), Order(3)])
        await until(lambda: got == [1, 2, 3, 0])


async def test_a_pattern_that_was_not_declared_is_missing(url: str) -> None:
    app = App("billing", settings=Settings(url=url, topology="assume"))
    app.consume(TopicPattern("orders.*", Order))(_nothing)
    with pytest.raises(DestinationMissing, match="topology apply"):
        async with app.running():
            pass


async def test_what_a_pattern_missed_while_it_was_away_is_there_when_it_comes_back(url: str) -> None:
    got: list[int] = []

    def audit() -> App:
        app = on(url, "audit")

        @app.consume(TopicPattern("orders.#", Order, key=lambda order: "k"), ordered=True)
        async def handle(order: Order) -> None:
            got.append(order.number)

        return app

    async with audit().running():
        pass
    publisher = on(url, "shop")
    async with publisher.running():
        for number in range(20):
            await publisher.publish(Topic(f"orders.t{number % 2}", Order, key=lambda order: "k"), Order(number))
    async with audit().running():
        await until(lambda: len(got) == 20)
    assert [n for n in got if n % 2] == list(range(1, 20, 2))
    assert [n for n in got if not n % 2] == list(range(0, 20, 2))


# ---------------------------------------------------------------- header filters


def test_a_filter_fits_all_of_its_headers_with_any_of_their_values() -> None:
    where = (("kind", ("a", "b")), ("region", ("eu",)))
    assert fits(where, {"region": "eu", "kind": "b", "more": "x"})
    assert not fits(where, {"region": "us", "kind": "b"})
    assert not fits(where, {"region": "eu"})


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_filtered_group_gets_what_fits_and_the_rest_leaves_nothing_behind(url: str, ordered: bool) -> None:
    app, got = on(url), list[int]()

    @app.consume(orders, where={"region": ["eu", "uk"], 'odd "name" $.x': "1"}, ordered=ordered)
    async def handle(order: Order) -> None:
        got.append(order.number)

    async with app.running():
        for number in range(40):
            headers = {"region": ("eu", "us", "uk", "jp")[number % 4], 'odd "name" $.x': "1"}
            await app.publish(orders, Order(number), headers=headers if number != 8 else None)
        await until(lambda: len(got) == 19)
        await never(lambda: len(got) > 19)
        async with app.admin() as admin:
            backlog = await admin.backlog(app.topology.subscriptions[0])
        await until(lambda: rows(url, "messages") == 0)
    assert sorted(got) == [n for n in range(40) if n % 4 in {0, 2} and n != 8]
    assert (backlog.ready.value, backlog.dead.value) == (0, 0)


async def test_a_filter_is_one_groups_own_affair(url: str) -> None:
    app, eu, everything = on(url), list[int](), list[int]()

    @app.consume(orders, group="eu", where={"region": "eu"})
    async def european(order: Order) -> None:
        eu.append(order.number)

    @app.consume(orders, group="all")
    async def every(order: Order) -> None:
        everything.append(order.number)

    async with app.running():
        for number in range(10):
            await app.publish(orders, Order(number), headers={"region": "eu" if number < 3 else "us"})
        await until(lambda: len(everything) == 10 and len(eu) == 3)
        await until(lambda: rows(url, "messages") == 0)


async def test_a_filter_that_the_broker_remembers_otherwise_is_drift(url: str) -> None:
    first, second = on(url), on(url)
    first.consume(orders, where={"region": "eu"})(_nothing)
    second.consume(orders, where={"region": "us"})(_nothing)
    async with first.running():
        pass
    with pytest.raises(TopologyMismatch, match=r'group orders.placed/billing where: \[\["region", \["eu"\]\]\] there'):
        async with second.running():
            pass
    async with second.admin() as admin:
        plan = await admin.plan(second.topology)
        await admin.apply(plan)
        assert (await admin.plan(second.topology)).changes == plan.changes  # left as it is, without being told
        await admin.apply(plan, allow=["group orders.placed/billing"])
        assert not (await admin.plan(second.topology)).changes
    async with second.running():
        pass


@pytest.mark.parametrize("publisher_first", [True, False])
async def test_a_group_that_a_contract_names_is_filtered_as_its_consumer_says(url: str, publisher_first: bool) -> None:
    contract = Topic("orders", Order, groups=["billing"])
    shop, billing, got = on(url, "shop"), on(url), list[int]()

    @billing.consume(contract, where={"region": "eu"})
    async def handle(order: Order) -> None:
        got.append(order.number)

    for app in (shop, billing) if publisher_first else (billing, shop):
        async with app.running():
            await app.publish(contract, Order(1 if app is shop else 2), headers={"region": "eu"})
            await app.publish(contract, Order(3), headers={"region": "us"})
    async with billing.running():
        await until(lambda: sorted(got) == [1, 2] and not rows(url, "messages"))


async def test_a_group_that_a_contract_names_is_as_it_was_first_consumed(url: str) -> None:
    contract = Topic("orders", Order, groups=["billing"])
    shop, plain, filtered = on(url, "shop"), on(url), on(url)
    plain.consume(contract)(_nothing)
    filtered.consume(contract, where={"region": "eu"})(_nothing)
    for app in (shop, plain):
        async with app.running():
            await app.publish(contract, Order(1))
    with pytest.raises(TopologyMismatch, match="everything there"):
        async with filtered.running():
            pass


async def _nothing(_: Any) -> None: ...


# ---------------------------------------------------------------- groups that come and go


async def test_an_ephemeral_group_gets_what_comes_while_it_is_there_and_leaves_nothing(url: str) -> None:
    kept, seen = list[int](), dict[int, list[int]]()
    durable = on(url)

    @durable.consume(orders)
    async def keep(order: Order) -> None:
        kept.append(order.number)

    def listener(place: int) -> App:
        app = on(url, "screen")

        @app.consume(orders, ephemeral=True)
        async def show(order: Order) -> None:
            seen.setdefault(place, []).append(order.number)

        return app

    async with durable.running():
        await durable.publish(orders, Order(1))
        async with listener(1).running(), listener(2).running():
            await durable.publish(orders, Order(2))
            await until(lambda: seen == {1: [2], 2: [2]})  # each process has a group of its own
        await durable.publish(orders, Order(3))
        await until(lambda: kept == [1, 2, 3])
        await until(lambda: rows(url, "messages") == 0)
        assert rows(url, "groups") == 1
    assert seen == {1: [2], 2: [2]}


async def test_what_an_ephemeral_group_had_not_handled_goes_with_it(url: str) -> None:
    app = on(url, "screen")

    @app.consume(orders, ephemeral=True)
    async def show(order: Order) -> None:
        await asyncio.sleep(60)

    async with App("screen2", settings=Settings(url=url, shutdown_grace=0)).running():
        pass
    app.settings = Settings(url=url, shutdown_grace=0)
    async with app.running():
        await app.publish_many(orders, [Order(n) for n in range(30)])
    assert [rows(url, table) for table in ("messages", "entries", "groups", "dead")] == [0, 0, 0, 0]


# ---------------------------------------------------------------- what a new group begins with


async def test_a_group_that_starts_with_the_earliest_gets_what_the_topic_has_kept(url: str) -> None:
    kept = Topic("prices", Order, key=lambda order: "k", retention=timedelta(days=1), groups=["first"])
    first, got = on(url, "first"), list[int]()

    @first.consume(kept)
    async def handle(order: Order) -> None:
        got.append(order.number)

    async with first.running():
        for number in range(5):
            await first.publish(kept, Order(number))
        await until(lambda: len(got) == 5)
    second, history = on(url, "second"), list[int]()

    @second.consume(kept, start="earliest", ordered=True)
    async def replay(order: Order) -> None:
        history.append(order.number)

    third, later = on(url, "third"), list[int]()

    @third.consume(kept, start="latest")
    async def from_now(order: Order) -> None:
        later.append(order.number)

    async with second.running(), third.running():
        await second.publish(kept, Order(5))
        await until(lambda: history == [0, 1, 2, 3, 4, 5])
        await until(lambda: later == [5])


async def test_the_first_group_begins_with_what_was_published_before_unless_it_says_latest(url: str) -> None:
    open_topic = Topic("open", Order, unrouted="accept")
    publisher = on(url, "shop")
    async with publisher.running():
        await publisher.publish(open_topic, Order(1))
    app, got = on(url), list[int]()

    @app.consume(open_topic, start="latest")
    async def handle(order: Order) -> None:
        got.append(order.number)

    async with app.running():
        await app.publish(open_topic, Order(2))
        await until(lambda: got == [2])
        await never(lambda: len(got) > 1)


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (lambda app: app.consume(orders, start="earliest"), "retention"),
        (lambda app: app.consume(orders, start="first"), "'earliest' or 'latest'"),
        (lambda app: app.consume(orders, where={"region": []}), "region"),
        (lambda app: app.consume(orders, where={"region": 7}), "region"),
        (lambda app: app.consume(orders, concurency=4), "did you mean concurrency"),
        (lambda app: app.consume(), "names no topic"),
    ],
)
def test_subscriptions_that_cannot_work_are_refused_when_registering(register: Callable[[Any], Any], said: str) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=said):
        register(App("a"))


async def test_every_gap_is_in_one_error_before_anything_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "never.db"
    app = on(f"sqlite:///{path}")
    app.consume(orders, ordered=True, on_failure="block-partition")(_nothing)
    app.consume(refunds, ordered=True, on_failure="block-partition")(_nothing)
    with pytest.raises(CapabilityError) as caught:
        async with app.running():
            pass
    assert "orders.placed/billing" in str(caught.value)
    assert "orders.refunded/billing" in str(caught.value)
    assert "on_failure='block-key'" in str(caught.value)
    assert not path.exists()


async def test_an_ephemeral_group_is_not_the_first_group_of_a_topic(url: str) -> None:
    open_topic, got = Topic("open", Order, unrouted="accept"), list[int]()
    screen, app = on(url, "screen"), on(url)
    screen.consume(open_topic, ephemeral=True)(_nothing)

    @app.consume(open_topic)
    async def handle(order: Order) -> None:
        got.append(order.number)

    publisher = on(url, "shop")
    async with publisher.running():
        await publisher.publish(open_topic, Order(1))
        async with screen.running(), app.running():  # what was published before is for the first that stays
            await until(lambda: got == [1])


def test_the_group_of_a_process_that_was_killed_goes_and_nothing_is_left(url: str) -> None:
    program = f"""
import asyncio, os
from waybill import App, Settings, Topic
orders = Topic("orders.placed", int)
app = App("screen", settings=Settings(url={url!r}))

@app.consume(orders, ephemeral=True)
async def show(order: int) -> None:
    os._exit(9)

async def main() -> None:
    async with app.running():
        await app.publish_many(orders, list(range(20)))
        await asyncio.sleep(60)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert done.returncode == 9
    assert rows(url, "groups") == 1

    async def look() -> None:
        app = on(url)
        app.consume(orders, start="latest")(_nothing)
        async with app.running():
            await until(lambda: rows(url, "groups") == 1 and rows(url, "messages") == 0)
            assert rows(url, "entries") == 0

    asyncio.run(look())


async def test_an_ephemeral_consumer_is_found_to_be_paused(url: str) -> None:
    app, got = on(url, "screen"), list[int]()

    @app.consume(orders, ephemeral=True)
    async def show(order: Order) -> None:
        got.append(order.number)

    async with app.running():
        app.consumer(orders).pause()
        await app.publish(orders, Order(1))
        await never(lambda: got)
        app.consumer(orders).resume()
        await until(lambda: got == [1])
