"""When a failed message is tried again, and when not any more."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.stand_ins import message
from waybill import ConfigurationError, Delivery, Retry
from waybill.judging import failed
from waybill.options import ConsumerOptions
from waybill.outcomes import DeadLetter
from waybill.retry import MINIMUM_DELAY, GiveUp, Wait, seconds


def decide(
    policy: Retry, attempt: int = 1, error: BaseException | None = None, age: float = 0, chance: float = 0.5
) -> Any:
    return policy.decide(attempt, error or ValueError(), age=age, chance=chance)


def judged(policy: Retry, error: BaseException) -> str | None:
    """Why a message that failed with this error at first is given up; `None`: it is tried again."""
    delivery = Delivery[Any](message=message("m"), topic="things", group="g", token=1)
    settlement = failed(delivery, error, ConsumerOptions(retry=policy), timed_out=False, now=0.0, chance=0.5)
    return settlement.record.reason if isinstance(settlement, DeadLetter) else None


def test_the_delays_double_up_to_the_cap() -> None:
    policy = Retry.exponential(8, first=1, cap=10, jitter=False)
    assert [decide(policy, n).delay for n in range(1, 8)] == [1, 2, 4, 8, 10, 10, 10]
    assert decide(policy, 8) == GiveUp("retries_exhausted")
    assert policy.timeline() == [1, 2, 4, 8, 10, 10, 10]


def test_jitter_takes_a_random_share_of_the_ceiling() -> None:
    policy = Retry.exponential(5, first=8, cap=8)
    assert [decide(policy, chance=chance).delay for chance in (0.25, 0.5)] == [2, 4]
    assert decide(policy, chance=0.0).delay == MINIMUM_DELAY


def test_none_is_one_attempt() -> None:
    assert decide(Retry.none()) == GiveUp("retries_exhausted")
    assert Retry.none().timeline() == []


def test_a_delay_of_zero_is_the_least_delay_and_no_hot_loop() -> None:
    assert decide(Retry.fixed(3, delay=0)) == Wait(MINIMUM_DELAY)
    assert Retry.fixed(3, delay=0).timeline() == [MINIMUM_DELAY] * 2


def test_past_the_greatest_age_it_is_expired() -> None:
    policy = Retry.fixed(99, delay=10, max_age=60)
    assert decide(policy, age=50) == Wait(10)
    assert decide(policy, age=50.1) == GiveUp("expired")


def test_what_is_never_tried_again_is_given_up_at_once_with_its_subclasses() -> None:
    policy = Retry.exponential(5, never=[LookupError])
    assert judged(policy, KeyError()) == "non_retryable"
    assert judged(policy, ExceptionGroup("both", [OSError(), KeyError()])) == "non_retryable"
    assert judged(policy, ValueError()) is None


def test_the_policy_of_the_most_specific_class_counts() -> None:
    policy = Retry.fixed(5, delay=1, per={LookupError: Retry.fixed(5, delay=2), KeyError: Retry.fixed(5, delay=3)})
    assert [decide(policy, error=error).delay for error in (KeyError(), IndexError(), ValueError())] == [3, 2, 1]


def test_never_holds_also_where_a_broader_class_has_a_policy_of_its_own() -> None:
    policy = Retry.fixed(5, delay=1, never=[KeyError], per={Exception: Retry.fixed(9, delay=2)})
    assert judged(policy, KeyError()) == "non_retryable"


def test_the_most_attempts_any_error_can_have_counts_the_policies_of_its_own() -> None:
    assert Retry.fixed(2, delay=1, per={KeyError: Retry.fixed(7, delay=1)}).most == 7


@given(
    attempts=st.integers(1, 10**6), first=st.floats(0, 1e9), cap=st.floats(0, 1e9), factor=st.floats(1, 1e6),
    attempt=st.integers(1, 10**6), chance=st.floats(0, 1, exclude_max=True), jitter=st.booleans(),
)  # fmt: skip
def test_a_delay_is_never_below_the_least_nor_above_the_cap(
    *, attempts: int, first: float, cap: float, factor: float, attempt: int, chance: float, jitter: bool
) -> None:
    decision = decide(
        Retry.exponential(attempts, first=first, cap=cap, factor=factor, jitter=jitter), attempt, chance=chance
    )
    if isinstance(decision, GiveUp):
        assert attempt >= attempts
    else:
        assert attempt < attempts
        assert MINIMUM_DELAY <= decision.delay <= max(cap, MINIMUM_DELAY)


@given(attempt=st.integers(1, 5000), chance=st.floats(0, 1, exclude_max=True))
def test_a_policy_without_a_cap_still_gives_a_number(attempt: int, chance: float) -> None:
    decision = decide(Retry(attempts=10_000, first=0.0, factor=2.0), attempt, chance=chance)
    assert math.isfinite(decision.delay), "nothing times anything is nothing"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry.fixed(0, delay=1), lambda: Retry.fixed(-1, delay=1), lambda: Retry.fixed(True, delay=1),
        lambda: Retry.fixed(1.5, delay=1), lambda: Retry.fixed(2, delay=-1), lambda: Retry.fixed(2, delay="1"),
        lambda: Retry.exponential(2, first=float("nan")), lambda: Retry.exponential(2, factor=0.5),
        lambda: Retry.exponential(2, factor=float("nan")), lambda: Retry.exponential(2, max_age=-1),
        lambda: Retry(attempts=2, first=-5.0), lambda: Retry(attempts=2, cap=float("nan")),
        lambda: Retry.exponential(2, never=["ValueError"]), lambda: Retry.exponential(2, per={ValueError: 3}),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused_when_it_is_made(make: Any) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_durations_are_numbers_or_timedeltas() -> None:
    assert seconds(timedelta(minutes=2), "x") == 120.0
    assert seconds(3, "x") == 3.0
    for wrong in (True, "3", None, -1, float("nan"), timedelta(seconds=-1)):
        with pytest.raises(ConfigurationError, match="x="):
            seconds(wrong, "x")  # type: ignore[arg-type]
