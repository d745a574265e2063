"""Rate limits: how many handlings start in a time, what is fetched for them, and who passes whom."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.stand_ins import Bench, consuming, message, never, until
from waybill import App, Batch, ConfigurationError, Delivery, Message, RateLimit, RetryBudget, Settings, Topic
from waybill.gates import limit as limits
from waybill.gates.bucket import LATE, Bucket
from waybill.gates.limit import KeyLimiter
from waybill.options import ConsumerOptions
from waybill.outcomes import Ack, Defer


def delivery(ident: str = "m", **more: Any) -> Delivery[Any]:
    return Delivery(message=message(ident, **more), topic="things", group="g")


# ---------------------------------------------------------------- pure


@given(
    st.floats(0.1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_in_any_stretch_of_time_no_more_tokens_are_taken_than_came_and_were_kept(
    rate: float, burst: int, pauses: list[float]
) -> None:
    bucket, now, taken = Bucket(rate, burst), 1000.0, list[float]()
    for pause in pauses:
        now += pause
        while bucket.tokens(now) >= 1:
            bucket.take()
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= rate * (taken[last] - taken[first]) + burst + LATE + 1e-6


def test_a_start_that_comes_late_delays_none_after_it() -> None:
    bucket, now, starts = Bucket(10, 1), 0.0, list[float]()
    while now < 100:
        if bucket.tokens(now) >= 1:
            bucket.take()
            starts.append(now)
        now += bucket.wait(now) + 0.03  # a timer, and a loop that is busy
    assert 990 <= len(starts) <= 1001


def test_each_who_waits_is_told_of_a_later_token() -> None:
    bucket = Bucket(2, 1)
    bucket.tokens(10.0)
    bucket.take()
    first, second, third = (bucket.promise(10.0) for _ in range(3))
    assert 0 < first <= 0.5
    assert (second - first, third - second) == (0.5, 0.5)
    assert bucket.promise(100.0) == 0


@pytest.mark.parametrize(
    ("limit", "most", "rate"),
    [
        (RateLimit(100), 10, 100),
        (RateLimit(5), 1, 5),
        (RateLimit(30, per=timedelta(minutes=1)), 1, 0.5),
        (RateLimit(1000, burst=1), 1, 1000),
    ],
)
def test_a_tenth_of_a_second_starts_at_once_unless_said_otherwise(limit: RateLimit, most: int, rate: float) -> None:
    assert (limit.most, limit.rate) == (most, rate)


@pytest.mark.parametrize(
    "arguments",
    [
        {"number": 0},
        {"number": True},
        {"number": float("inf")},
        {"number": 1, "per": 0},
        {"number": 1, "burst": 0},
        {"number": 1, "by": "customer"},
        {"number": 1, "by": ["customer"]},
        {"number": 1, "burst": "5"},
        {"number": 1, "burst": 1.5},
    ],
)
def test_what_cannot_be_a_limit_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="RateLimit"):
        RateLimit(**arguments)


def test_a_batch_has_no_keys_to_limit() -> None:
    with pytest.raises(ConfigurationError, match="several keys"):
        ConsumerOptions(limit=RateLimit(1, by="key"), batch=Batch(10))


def test_a_limit_that_is_a_number_is_refused_with_what_to_write() -> None:
    app, topic = App("a"), Topic("t", int)
    with pytest.raises(ConfigurationError, match=r"RateLimit\(100\)"):
        app.consume(topic, limit=100)(lambda value: None)  # type: ignore[arg-type]


def test_no_more_is_held_than_a_slow_limit_can_use() -> None:
    assert ConsumerOptions(concurrency=10, limit=RateLimit(1, per=60), timeout=60).held == 3
    assert ConsumerOptions(concurrency=4, limit=RateLimit(5)).held == 10
    assert ConsumerOptions(concurrency=10, limit=RateLimit(1000)).held == 40
    assert ConsumerOptions(concurrency=10, limit=RateLimit(1, per=60), window=20).held == 20


def test_keys_have_a_bucket_each_and_no_key_has_none() -> None:
    limiter, now = KeyLimiter(RateLimit(1, by="key")), time.monotonic()
    for key in ("a", "b"):
        assert limiter.wait(delivery(key=key), now) == 0
        limiter.take(delivery(key=key), now)
    assert limiter.wait(delivery(key="a"), now) == pytest.approx(1 - LATE)
    assert limiter.wait(delivery(key=None), now) == 0


def test_what_is_known_of_keys_is_bounded_and_too_many_are_limited_more_never_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "KEYS", 100)
    limiter, now = KeyLimiter(RateLimit(1, per=1000, by="key")), 1000.0
    started = defaultdict[str, int](int)
    for number in range(1000):
        for _ in range(2):
            one = delivery(key=f"k{number}")
            if limiter.wait(one, now) == 0:
                limiter.take(one, now)
                started[f"k{number}"] += 1
    assert len(limiter._buckets) <= 100 + limits.SHARED
    assert max(started.values()) == 1
    assert limiter.wait(delivery(key="new"), now + 2000) == 0  # those that are over were forgotten
    assert len(limiter._buckets) < 10


# ---------------------------------------------------------------- consuming


async def test_handlings_start_at_the_rate_and_no_more_is_held_than_can_start_soon() -> None:
    bench, starts = Bench(), list[float]()

    async def handle(_: Delivery[Any]) -> None:
        starts.append(time.monotonic())

    bench.push(*(message(f"m{n}") for n in range(300)))
    async with consuming(bench, handle, limit=RateLimit(50)):
        await until(lambda: len(starts) >= 75)
    seconds = starts[74] - starts[0]
    assert 74 / seconds <= 50 * 1.1 + 5 / seconds
    assert bench.most_held <= 50 + 5
    assert len(bench.asked) < 40  # not one call a message


async def test_a_slow_limit_leaves_the_messages_where_they_are_until_they_can_start() -> None:
    bench, starts = Bench(), list[float]()

    async def handle(_: Delivery[Any]) -> None:
        starts.append(time.monotonic())

    bench.push(*(message(f"m{n}") for n in range(10)))
    async with consuming(bench, handle, limit=RateLimit(1, per=60)):
        await until(lambda: bench.ids(Ack))
        await never(lambda: bench.held)
    assert len(starts) == 1


async def test_a_batch_counts_once() -> None:
    bench, sizes = Bench(), list[int]()

    async def handle(deliveries: Any) -> None:
        sizes.append(len(deliveries))

    bench.push(*(message(f"m{n}") for n in range(40)))
    async with consuming(bench, handle, limit=RateLimit(10, burst=2), batch=Batch(10, wait=5)):  # type: ignore[arg-type]
        await until(lambda: sum(sizes) == 40)
    assert sizes == [10] * 4


async def test_below_one_a_second_batches_are_whole_all_the_same() -> None:
    bench, sizes = Bench(), list[int]()

    async def handle(deliveries: Any) -> None:
        sizes.append(len(deliveries))

    bench.push(*(message(f"m{n}") for n in range(1000)))
    async with consuming(bench, handle, limit=RateLimit(1, per=1.2), batch=Batch(100, wait=0)):
        await until(lambda: len(sizes) == 2)
        assert bench.most_held <= 300
        await until(lambda: len(sizes) == 3)
    assert sizes == [100] * 3


async def test_while_a_key_waits_the_others_pass() -> None:
    bench, order = Bench(), list[str]()

    async def handle(one: Delivery[Any]) -> None:
        order.append(one.message.key or "")

    bench.push(*(message(f"hot{n}", key="hot") for n in range(3)), *(message(f"c{n}", key=f"c{n}") for n in range(30)))
    async with consuming(bench, handle, limit=RateLimit(4, by="key")):
        await until(lambda: len(order) == 33)
    assert order[0] == "hot"
    assert order[-2:] == ["hot", "hot"]
    assert not bench.ids(Defer)


async def test_of_an_ordered_key_nothing_passes_anything() -> None:
    bench, order = Bench(), list[str]()

    async def handle(one: Delivery[Any]) -> None:
        order.append(one.message.id)

    bench.push(*(message(f"hot{n}", key="hot") for n in range(4)), message("other", key="cold"))
    async with consuming(bench, handle, ordered=True, limit=RateLimit(10, by="key")):
        await until(lambda: len(order) == 5)
    assert [ident for ident in order if ident != "other"] == ["hot0", "hot1", "hot2", "hot3"]
    assert order.index("other") == 1


async def test_a_key_with_more_than_half_a_window_waits_at_the_broker_at_no_cost_in_attempts() -> None:
    bench, attempts = Bench(), list[tuple[str, int]]()

    async def handle(one: Delivery[Any]) -> None:
        attempts.append((one.message.id, one.attempt))

    bench.push(*(message(f"hot{n}", key="hot") for n in range(30)))
    handled: list[str] = []
    async with consuming(
        bench,
        handle,
        limit=RateLimit(30, burst=1, by="key"),
        concurrency=2,
        window=8,
        observers=[lambda one: handled.append(one.delivery.message.id)],
    ):
        await until(lambda: bench.ids(Defer))
        bench.push(message("late", key="cold"))
        await until(lambda: len(attempts) == 31)
    assert {attempt for _, attempt in attempts} == {1}
    assert sorted(handled) == sorted({ident for ident, _ in attempts}), "being put off is no handling"
    assert [ident for ident, _ in attempts].index("late") < 25
    assert all(
        settlement.attempts == 0 and settlement.first_failure is None
        for _, settlement in bench.settled
        if isinstance(settlement, Defer)
    )


async def test_what_was_lost_while_it_waited_for_its_turn_leaves_its_place_to_others() -> None:
    bench, done = Bench(), list[str]()

    async def handle(one: Delivery[Any]) -> None:
        done.append(one.message.id)

    async with consuming(bench, handle, limit=RateLimit(2, burst=1, by="key"), concurrency=2, window=8) as consumer:
        bench.push(*(message(f"m{n}", key="hot") for n in range(5)))
        await until(lambda: done == ["m0"] and consumer.held == 4 and not consumer.gathering)
        bench.revoke("m1", "m2", "m3", "m4")
        bench.push(*(message(f"n{n}", key="hot") for n in range(4)))
        await until(lambda: consumer.held == 4 and not consumer.gathering)
        await never(lambda: bench.ids(Defer))


async def test_what_waits_for_its_turn_is_given_back_at_a_shutdown() -> None:
    bench, done = Bench(), list[str]()

    async def handle(one: Delivery[Any]) -> None:
        done.append(one.message.id)

    bench.push(message("a", key="hot"), message("b", key="hot"))
    async with consuming(bench, handle, limit=RateLimit(1, per=4, by="key")):
        await until(lambda: done and len(bench.held) == 1)
    assert bench.journal == ["Ack a", "Release b"]
    await asyncio.sleep(0)


async def test_a_function_says_whose_limit_it_is() -> None:
    bench, done = Bench(), list[str]()

    def tenant(one: Message) -> str | None:
        return one.headers.get("tenant")

    async def handle(one: Delivery[Any]) -> None:
        done.append(one.message.id)

    bench.push(*(message(f"a{n}", headers={"tenant": "a"}) for n in range(3)), *(message(f"n{n}") for n in range(20)))
    async with consuming(bench, handle, limit=RateLimit(5, by=tenant)):
        await until(lambda: len(done) == 23)
    assert done[-2:] == ["a1", "a2"]


async def test_messages_of_which_the_function_cannot_say_it_share_a_limit() -> None:
    bench, done = Bench(), list[str]()

    def tenant(one: Message) -> Any:
        return ["no", "key"] if one.id == "odd" else one.headers["tenant"]

    async def handle(one: Delivery[Any]) -> None:
        done.append(one.message.id)

    bench.push(message("odd"), message("none"), *(message(f"a{n}", headers={"tenant": f"{n}"}) for n in range(3)))
    async with consuming(bench, handle, limit=RateLimit(5, by=tenant)):
        await until(lambda: len(done) == 5)
    assert done[-1] == "none"
    assert sorted(bench.journal) == ["Ack a0", "Ack a1", "Ack a2", "Ack none", "Ack odd"]


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (RateLimit(100), "100 in 1 s, 10 at once"),
        (RateLimit(5, per=120, by="key"), "5 in 2 min for each key, 1 at once"),
    ],
)
def test_a_limit_says_what_it_is(limit: RateLimit, text: str) -> None:
    assert str(limit) == text


async def test_in_a_test_nothing_waits_for_a_limit_or_a_budget() -> None:
    app, topic, tried = App("a"), Topic("t", int), list[int]()

    @app.consume(topic, limit=RateLimit(1, per=3600), budget=RetryBudget(0, least=0, window=3600))
    async def handle(number: int) -> None:
        tried.append(number)
        if tried.count(number) == 1:
            raise ConnectionError

    async with app.test() as bus:
        for number in range(20):
            await bus.publish(topic, number)
        await bus.drain()
    assert sorted(tried) == sorted([*range(20), *range(20)])


async def test_the_topics_of_one_handler_share_its_limit_and_none_starves() -> None:
    app, starts = App("worker", settings=Settings(url="memory://")), list[str]()
    first, second = Topic("first", str), Topic("second", str)

    @app.consume(first, second, limit=RateLimit(40, burst=1))
    async def handle(topic: str) -> None:
        starts.append(topic)

    async with app.running():
        await app.publish_many(first, ["first"] * 100)
        await app.publish_many(second, ["second"] * 100)
        starts.clear()
        began = time.monotonic()
        await until(lambda: len(starts) >= 20)
        took = time.monotonic() - began
    assert len(starts) <= 40 * took + 2
    assert min(starts.count("first"), starts.count("second")) >= 5
