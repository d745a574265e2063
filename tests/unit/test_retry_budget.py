"""The retry budget: what share of the handlings may be retries, and what becomes of those that are too many."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.stand_ins import Bench, consuming, message, never, until
from waybill import App, ConfigurationError, Delivery, Retry, RetryBudget, Topic, waiting
from waybill.clock import SystemClock, TestClock
from waybill.gates.budget import LONGEST, SLOTS, Spending
from waybill.outcomes import Ack, DeadLetter, Defer


def delivery(attempt: int) -> Delivery[Any]:
    return Delivery(message=message("m"), topic="things", group="g", attempt=attempt)


FIRST, AGAIN = delivery(1), delivery(2)


# ---------------------------------------------------------------- pure


@settings(max_examples=50)
@given(
    share=st.floats(0, 0.9),
    least=st.floats(0, 5),
    window=st.floats(0.5, 30),
    seed=st.integers(0, 1000),
)
def test_in_no_window_are_more_retries_granted_than_the_share_and_the_least(
    share: float, least: float, window: float, seed: float
) -> None:
    budget, chance = RetryBudget(share, least=least, window=window), random.Random(seed)
    spending, now, handlings = Spending(budget, SystemClock()), 1000.0, list[tuple[float, bool]]()
    for _ in range(400):
        now += chance.expovariate(20 / window)
        again = chance.random() < 0.6
        one = AGAIN if again else FIRST
        if spending.wait(one, now) == 0:
            spending.take(one, now)
            handlings.append((now, again))
    slid = window * (1 - 1 / SLOTS)  # it slides by a part of itself
    for end, again in handlings:
        if again:
            kinds = [kind for at, kind in handlings if end - slid <= at <= end]
            all_of_it = [kind for at, kind in handlings if end - window <= at <= end]
            assert sum(kinds) <= share * len(all_of_it) + budget.always + 1e-6


def test_a_quiet_subscription_may_retry() -> None:
    spending = Spending(RetryBudget(0.0, least=0.0), SystemClock())
    assert spending.wait(AGAIN, 1000.0) == 0
    spending.take(AGAIN, 1000.0)
    assert 0 < spending.wait(AGAIN, 1000.0) < LONGEST
    assert spending.wait(AGAIN, 1011.0) == 0


def test_retries_that_are_put_off_are_put_off_to_different_times_and_not_for_ever() -> None:
    spending = Spending(RetryBudget(0.2, least=1), SystemClock())
    for _ in range(100):
        spending.take(FIRST, 1000.0)
    while spending.wait(AGAIN, 1000.0) == 0:
        spending.take(AGAIN, 1000.0)
    waits = [spending.put_off(1000.0) for _ in range(2000)]
    assert waits == sorted(waits)
    assert waits[10] > waits[0] > 0
    assert waits[-1] == LONGEST


@pytest.mark.parametrize("arguments", [{"share": 1}, {"share": -0.1}, {"share": True}, {"least": -1}, {"window": 0}])
def test_what_cannot_be_a_budget_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="RetryBudget"):
        RetryBudget(**arguments)


def test_a_budget_that_is_a_number_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match=r"RetryBudget\(0\.2\)"):
        App("a").consume(Topic("t", int), budget=0.2)(lambda value: None)  # type: ignore[arg-type]


def test_a_budget_without_any_retry_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no retry to count"):
        App("a").consume(Topic("t", int), budget=RetryBudget(), retry=Retry.none())(lambda value: None)


# ---------------------------------------------------------------- consuming


async def test_when_everything_fails_the_handler_is_hardly_called_more_often_than_without_retries() -> None:
    bench, calls = Bench(), list[int]()

    async def handle(one: Delivery[Any]) -> None:
        calls.append(one.attempt)
        raise ConnectionError

    bench.push(*(message(f"m{n}") for n in range(100)))
    budget = RetryBudget(0.2, least=0, window=60)
    async with consuming(bench, handle, retry=Retry.fixed(5, delay=0.01), budget=budget) as consumer:
        await until(lambda: calls.count(1) == 100)
        await until(lambda: consumer.held == 0)
        await until(lambda: len(calls) > 110)
        await never(lambda: len(calls) - 100 > 0.2 * len(calls) + 1, during=0.3)
        assert len(calls) > 110, "the share is made use of"
    assert not bench.ids(DeadLetter)


async def test_what_was_put_off_is_tried_in_the_end() -> None:
    bench = Bench()

    async def handle(one: Delivery[Any]) -> None:
        if one.attempt == 1:
            raise ConnectionError

    bench.push(*(message(f"m{n}") for n in range(60)))
    budget = RetryBudget(0.2, least=20, window=0.5)
    async with consuming(bench, handle, retry=Retry.fixed(2, delay=0.01), budget=budget):
        await until(lambda: len(bench.ids(Ack)) == 60)
    assert not bench.ids(DeadLetter)


async def test_what_would_expire_meanwhile_is_tried_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waybill.gates.budget.MARGIN", 9.0)
    bench, calls = Bench(), list[tuple[str, int]]()

    async def handle(one: Delivery[Any]) -> None:
        calls.append((one.message.id, one.attempt))
        if one.attempt == 1:
            raise ConnectionError

    expires = datetime.now(UTC) + timedelta(seconds=11)
    bench.push(*(message(f"m{n}", expires=expires) for n in range(20)))
    async with consuming(bench, handle, retry=Retry.fixed(5, delay=0.01), budget=RetryBudget(0, least=0, window=3600)):
        await until(lambda: len(bench.ids(Ack)) == 20)
    assert not bench.ids(DeadLetter)


async def test_what_was_put_off_often_is_tried_in_time_all_the_same() -> None:
    bench, clock = Bench(), TestClock()

    async def handle(_: Delivery[Any]) -> None:
        raise AssertionError("the budget is spent")

    async with consuming(
        bench, handle, retry=Retry.fixed(5, delay=0.01), budget=RetryBudget(0, least=0, window=3600), clock=clock
    ) as consumer:
        assert consumer._shared.spending is not None
        consumer._shared.spending.take(AGAIN, time.monotonic())
        expires = datetime.fromtimestamp(clock.time() + 60, UTC)
        bench.push(message("expires", expires=expires), attempt=2, handed_out=10)
        bench.push(message("stays"), attempt=2, handed_out=10)
        await until(lambda: len(bench.ids(Defer)) == 2)
    waits = {ident: settlement.after for ident, settlement in bench.settled if isinstance(settlement, Defer)}
    assert 0 < waits["expires"] <= 60
    assert waits["stays"] == LONGEST


def test_the_least_age_of_all_policies_is_kept() -> None:
    assert Retry.fixed(2, delay=1).oldest is None
    per = {KeyError: Retry.fixed(2, delay=1, max_age=60), OSError: Retry.none()}
    assert Retry.fixed(2, delay=1, max_age=90, per=per).oldest == 60


async def test_the_greatest_age_of_the_policy_is_not_passed_for_the_budget() -> None:
    bench = Bench()

    async def handle(one: Delivery[Any]) -> None:
        if one.attempt == 1:
            raise ConnectionError

    now = datetime.now(UTC)
    bench.push(*(message(f"m{n}", first_failure=now) for n in range(5)))  # the bench does not keep it by itself
    retry, budget = Retry.fixed(5, delay=0.01, max_age=1.5), RetryBudget(0, least=0, window=3600)
    async with consuming(bench, handle, retry=retry, budget=budget):
        await until(lambda: len(bench.ids(Ack)) == 5)
    assert not bench.ids(DeadLetter)


def test_a_retry_is_put_off_no_longer_than_it_has_left() -> None:
    spending, now = Spending(RetryBudget(0, least=0, window=3600), SystemClock(), max_age=60), 1000.0
    spending.take(AGAIN, now)
    failed, soon = datetime.now(UTC), datetime.now(UTC) + timedelta(seconds=20)
    assert spending.later(FIRST, None, now) == LONGEST
    assert spending.later(FIRST, failed, now) == pytest.approx(60, abs=5)
    assert spending.later(FIRST, failed - timedelta(seconds=70), now) == 0
    expiring = Delivery(message=message("m", expires=soon), topic="things", group="g")
    assert spending.later(expiring, failed, now) == pytest.approx(19, abs=5)


async def test_a_failure_beyond_the_budget_comes_back_when_there_may_be_some_again() -> None:
    bench = Bench()

    async def handle(one: Delivery[Any]) -> None:
        if one.attempt == 1:
            raise ConnectionError

    budget = RetryBudget(0, least=0, window=100)
    async with consuming(bench, handle, retry=Retry.fixed(3, delay=0.01), budget=budget):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
        bench.push(message("b"))
        await until(lambda: bench.ids(Defer) == ["a", "b"])
    waits = [settlement.after for _, settlement in bench.settled if isinstance(settlement, Defer)]
    assert waits[0] == 0.01
    assert waits[1] >= 10


async def test_an_ordered_key_waits_for_its_turn_and_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SHORT", 0.01)
    bench, order = Bench(), list[str]()

    async def handle(one: Delivery[Any]) -> None:
        order.append(f"{one.message.id}/{one.attempt}")
        if one.message.id in {"a0", "b0"} and one.attempt == 1:
            raise ConnectionError

    bench.push(*(message(f"{key}{n}", key=key) for n in range(2) for key in ("a", "b")))
    async with consuming(
        bench, handle, ordered=True, retry=Retry.fixed(3, delay=0.01), budget=RetryBudget(0, least=0, window=1.0)
    ):
        await until(lambda: len(bench.ids(Ack)) == 4)
    assert not bench.ids(Defer), "it waits here: what is behind it would pass"
    for key in "ab":
        assert [one for one in order if one[0] == key] == [f"{key}0/1", f"{key}0/2", f"{key}1/1"]
