"""Replay without a broker: stretches, what becomes of what is read, its rate, and who refuses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.stand_ins import until
from waybill import (
    App,
    BrokerError,
    CapabilityError,
    ConfigurationError,
    Delivery,
    Message,
    Reject,
    Replayed,
    Retry,
    Settings,
    Stretch,
    Topic,
)
from waybill.adapter import Capabilities
from waybill.cli.stretches import stretch_of
from waybill.loading import AdapterContext, open_adapter, use_adapter
from waybill.topology import Subscription
from waybill_contracts.mutants.wrapping import Wrapped
from waybill_kafka.client import TopicPartition
from waybill_kafka.history import _positions

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TOPIC = Topic("orders", int, key=lambda number: f"k{number % 2}", groups=["g"])


def message(number: int, *, key: str | None = None, headers: dict[str, str] | None = None) -> Message:
    key = f"k{number % 2}" if key is None else key
    body = b"%d" % number
    return Message(id=str(number), body=body, type="orders", source="s", time=NOON, key=key, headers=headers or {})


class Log:
    """What has been kept. `fails`: reads that raise before one does not."""

    group = ""

    def __init__(self, messages: Sequence[Message], fails: int = 0) -> None:
        self.left = list(messages)
        self.total = len(self.left)
        self.fails = fails
        self.asked: list[int] = []

    async def read(self, limit: int) -> Sequence[Delivery[Any]] | None:
        self.asked.append(limit)
        if self.fails:
            self.fails -= 1
            raise BrokerError("it cannot be read")
        if not self.left:
            return None
        found, self.left = self.left[:limit], self.left[limit:]
        return [Delivery(message=each, topic="orders", group=self.group, partition="0") for each in found]


class Keeping(Wrapped):
    """The embedded broker, beside a log that can be read."""

    log: Log

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        from msgspec.structs import replace

        return replace(can, replays=True)

    @asynccontextmanager
    async def past(self, subscription: Subscription, stretch: Stretch) -> AsyncGenerator[Log, None]:
        del stretch
        self.log.group = subscription.group
        yield self.log

    async def seek(self, subscription: Subscription, stretch: Stretch) -> None: ...


def replaying(log: Log) -> App:
    def opened(url: str, context: AdapterContext) -> Keeping:
        del url
        made = Keeping(open_adapter("memory://history", context))
        made.log = log
        return made

    use_adapter("keeping", opened)
    return App("g", settings=Settings(url="keeping://"))


def numbers(count: int) -> list[Message]:
    return [message(number) for number in range(count)]


async def test_all_of_it_is_handled_marked_and_in_the_order_of_keys() -> None:
    given: list[Delivery[int]] = []

    async def shadow(_: int, delivery: Delivery[int]) -> None:
        await asyncio.sleep(0.001 if delivery.value % 3 else 0.01)
        given.append(delivery)

    told: list[Replayed] = []
    async with replaying(Log(numbers(40))).running(consume=False) as app:
        result = await app.replay(TOPIC, Stretch(), to=shadow, on_progress=told.append)
    assert (result.handled, result.failed, result.seen) == (40, 0, 40)
    assert told[-1] == result
    assert all(delivery.replayed and delivery.group == "g~replay" for delivery in given)
    for parity in (0, 1):
        assert [d.value for d in given if d.value % 2 == parity] == list(range(parity, 40, 2))


async def test_the_groups_own_handler_has_its_retries_its_filter_and_its_middleware(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, tries, seen = replaying(Log([message(n, headers={"r": "eu" if n < 4 else "us"}) for n in range(6)])), [], []

    def middleware(handle: Callable[[Delivery[Any]], Any]) -> Any:
        async def noted(delivery: Delivery[Any]) -> None:
            seen.append(delivery.value)
            await handle(delivery)

        return noted

    app._middleware = (middleware,)

    @app.consume(TOPIC, retry=Retry.fixed(3, delay=0.01), where={"r": "eu"})
    async def handle(number: int, delivery: Delivery[int]) -> None:
        tries.append((number, delivery.attempt))
        if number == 1 and delivery.attempt < 3:
            raise ValueError("not yet")
        if number == 2:
            raise Reject("two")

    with caplog.at_level(logging.WARNING, "waybill.replaying"):
        async with app.running(consume=False):
            result = await app.replay(TOPIC, Stretch())
    assert result == Replayed(handled=3, failed=1, unwanted=2, cause="rejected: two")
    assert sorted(tries) == [(0, 1), (1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]
    assert {0, 1, 2, 3} == set(seen)
    assert "message 2 failed: rejected: two" in caplog.text


async def test_the_rate_holds_and_the_limit() -> None:
    at: list[float] = []

    async def shadow(_: int) -> None:
        at.append(time.monotonic())

    async with replaying(Log(numbers(50))).running(consume=False) as app:
        began = time.monotonic()
        result = await app.replay(TOPIC, Stretch(), to=shadow, rate=40, limit=12)
    assert result.handled == len(at) == 12
    assert at[-1] - began >= 0.25
    with pytest.raises(ConfigurationError, match="rate=0"):
        async with app.running(consume=False):
            await app.replay(TOPIC, Stretch(), to=shadow, rate=0)


async def test_a_read_that_fails_is_tried_again_and_not_for_ever() -> None:
    given: list[int] = []

    async def shadow(number: int) -> None:
        given.append(number)

    async with replaying(Log(numbers(3), fails=2)).running(consume=False) as app:
        assert (await app.replay(TOPIC, Stretch(), to=shadow)).handled == 3
    async with replaying(Log(numbers(3), fails=99)).running(consume=False) as app:
        with pytest.raises(BrokerError, match="cannot be read"):
            await app.replay(TOPIC, Stretch(), to=shadow)
    assert given == [0, 1, 2]


async def test_cancelled_it_lets_handlers_end_and_begins_nothing_more() -> None:
    begun, ended = list[int](), list[int]()

    async def shadow(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0.05)
        ended.append(number)

    async with replaying(Log(numbers(500))).running(consume=False) as app:
        task = asyncio.create_task(app.replay(TOPIC, Stretch(), to=shadow))
        await until(lambda: begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert begun
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 500


async def test_who_has_no_such_handler_is_told() -> None:
    async with replaying(Log([])).running(consume=False) as app:
        with pytest.raises(ConfigurationError, match="orders/g: name another group"):
            await app.replay(TOPIC, Stretch())


async def test_a_broker_without_a_log_refuses_and_says_what_serves() -> None:
    async def shadow(_: int) -> None: ...

    async with App("g", settings=Settings(url="memory://")).running(consume=False) as app:
        with pytest.raises(CapabilityError, match=r"start='earliest'.*Kafka"):
            await app.replay(TOPIC, Stretch(), to=shadow)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"since": datetime(2026, 1, 2)}, "time zone"),  # noqa: DTZ001 - that is what is wrong with it
        ({"since": NOON, "until": NOON}, "nothing is published"),
        ({"first_key": "b", "last_key": "a"}, "swap"),
    ],
)
def test_a_stretch_that_can_hold_nothing_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Stretch(**given)


def test_keys_are_held_against_what_was_asked_for() -> None:
    assert Stretch().holds(message(1, key="x"))
    assert Stretch(keys=frozenset({"a"})).holds(message(1, key="a"))
    assert not Stretch(keys=frozenset({"a"})).holds(message(1, key="b"))
    between = Stretch(first_key="b", last_key="c")
    assert [key for key in "abcd" if between.holds(message(1, key=key))] == ["b", "c"]


def test_times_on_the_command_line() -> None:
    since = stretch_of("2h").since
    assert since is not None
    assert timedelta(hours=2) <= datetime.now(UTC) - since < timedelta(hours=2, minutes=1)
    assert stretch_of("2026-01-02T12:00:00Z").since == NOON
    for wrong in ("2026-01-02T12:00:00", "yesterday"):
        with pytest.raises(ConfigurationError, match="--since"):
            stretch_of(wrong)


@pytest.mark.parametrize("wrong", ["orders", "orders/0", "orders/0@x", "orders/x@1", "@", "orders/9@1"])
def test_what_is_no_position_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="orders"):
        _positions([wrong], {TopicPartition("orders", 0): 0})


def test_a_partition_has_one_position() -> None:
    known = {TopicPartition("orders", 0): 0}
    assert _positions(["orders/0@12"], known) == {TopicPartition("orders", 0): 12}
    with pytest.raises(ConfigurationError, match="named before"):
        _positions(["orders/0@12", "orders/0@13"], known)
