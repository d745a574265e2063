"""When a circuit opens, how long it stays so, and what closes it; the time is made up."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waybill import App, CircuitBreaker, ConfigurationError, Topic
from waybill.gates.circuit import Circuit, Recent, Rules, State


def circuit(**rules: float | None) -> Circuit:
    return Circuit(Rules(**rules))  # type: ignore[arg-type]


def state(one: Circuit) -> str:
    return one.state


def calls(one: Circuit, now: float, *failed: bool | None, took: float = 0.0) -> float:
    """Handlings one after the other, a hundredth of a second apart."""
    for each in failed:
        now += 0.01
        one.start()
        one.end(now, now - took, failed=each)
    return now


def test_it_opens_when_so_many_of_the_last_calls_have_failed() -> None:
    one = circuit(failures=0.5, calls=4, window=10)
    now = calls(one, 100, True, False, False, False)  # one of four
    now = calls(one, now, True, False)  # the first has left the window: one of four again
    assert state(one) == "closed"
    calls(one, now, True)
    assert state(one) == "open"


def test_a_failure_counts_for_as_long_as_the_window() -> None:
    one = circuit(failures=0.5, calls=4, window=10)
    calls(one, 100, True)
    calls(one, 111, True)
    assert state(one) == "closed"
    calls(one, 112, True)
    assert state(one) == "open"


def test_without_a_window_of_time_failures_count_however_old_they_are() -> None:
    one = circuit(failures=0.5, calls=4, window=None)
    calls(one, 100, True)
    calls(one, 1_000_000, True)
    assert state(one) == "open"


def test_looking_at_it_changes_nothing_since_it_may_be_done_in_another_thread() -> None:
    one = circuit(failures=0.5, calls=4, window=10)
    calls(one, 100, True)
    assert one.failing.found(one.calls, 105) == 1
    assert one.failing.found(one.calls, 200) == 0
    assert one.failing.found(one.calls, 105) == 1


def test_what_says_nothing_is_no_call() -> None:
    one = circuit(failures=1, calls=2)
    calls(one, 100, True, None, None, None, True)
    assert state(one) == "open"


def test_it_opens_when_too_many_are_slow() -> None:
    one = circuit(slow=1, slow_share=0.5, calls=4)
    for slow in (True, False, False):
        one.end(100, 90, failed=False, slow=slow)
    assert state(one) == "closed"
    one.end(101, 90, failed=False, slow=True)
    assert state(one) == "open"


def test_a_slow_probe_is_a_failed_one() -> None:
    one = circuit(slow=1, calls=1, open_for=5)
    calls(one, 100, True)
    assert one.tick(105.01)
    one.start()
    one.end(107, 105.01, failed=False, slow=True)
    assert state(one) == "open"


def test_it_probes_when_it_has_waited_and_closes_when_the_probe_passes() -> None:
    one = circuit(calls=1, open_for=5)
    opened = calls(one, 100, True)
    assert not one.tick(opened + 4.99)
    assert one.room == 0
    assert one.tick(opened + 5)
    assert (state(one), one.room) == ("half-open", 1)
    one.start()
    assert one.room == 0
    one.end(opened + 5.1, opened + 5, failed=False)
    assert state(one) == "closed"


def test_it_waits_twice_as_long_after_each_probe_that_fails_but_no_longer_than_its_cap() -> None:
    one, waits = circuit(calls=1, open_for=5, cap=30), list[float]()
    now = calls(one, 100, True)
    for _ in range(5):
        waits.append(round(one.until - now, 6))
        now = one.until
        assert one.tick(now)
        now = calls(one, now, True)
    assert waits == [5, 10, 20, 30, 30]


def test_a_probe_that_passes_makes_the_next_outage_begin_anew() -> None:
    one = circuit(calls=1, open_for=5)
    now = calls(one, 100, True)
    for failed in (True, False):
        now = one.until
        one.tick(now)
        now = calls(one, now, failed)
    now = calls(one, now, True)
    assert round(one.until - now, 6) == 5


def test_a_probe_that_says_nothing_makes_room_for_another() -> None:
    one = circuit(calls=1, open_for=5)
    calls(one, 100, True)
    one.tick(106)
    now = calls(one, 106, None)
    assert (state(one), one.room) == ("half-open", 1)
    calls(one, now, False)
    assert state(one) == "closed"


def test_several_probes_must_all_pass() -> None:
    one = circuit(calls=1, probes=3, open_for=5)
    calls(one, 100, True)
    one.tick(106)
    assert one.room == 3
    one.start()
    one.start()
    assert one.room == 1
    one.end(107, 106, failed=False)
    assert (state(one), one.room) == ("half-open", 1)
    one.end(108, 106, failed=False)
    calls(one, 109, False)
    assert state(one) == "closed"


def test_what_began_before_it_opened_neither_closes_it_nor_is_a_probe() -> None:
    one = circuit(calls=1, open_for=5)
    for _ in range(3):
        one.start()
    one.end(101, 100, failed=True)
    one.end(102, 100, failed=False)
    assert state(one) == "open"
    one.tick(107)
    one.end(108, 100, failed=False)
    assert (state(one), one.room) == ("half-open", 1)


def test_what_began_before_it_closed_does_not_open_it_again() -> None:
    one = circuit(calls=1, open_for=5)
    calls(one, 100, True)
    one.tick(106)
    calls(one, 106, False)
    one.end(160, 100, failed=True)
    assert state(one) == "closed"


def test_it_stays_open_for_as_long_as_the_dependency_asks() -> None:
    one = circuit(calls=1, open_for=5)
    one.end(100, 99, failed=True, pause=40)
    one.end(110, 99, failed=True, pause=60)
    assert not one.tick(169.9)
    assert one.tick(170)


def test_what_is_done_by_hand_lasts_until_it_is_undone() -> None:
    one = circuit(calls=1, open_for=5)
    assert one.force(100, "forced-open")
    assert not one.force(101, "forced-open")
    calls(one, 101, False, True, None)
    assert not one.tick(1_000_000)
    assert (state(one), one.room) == ("forced-open", 0)
    assert one.auto(200)
    assert state(one) == "half-open"
    assert one.force(201, "forced-closed")
    calls(one, 201, True, True, True)
    assert state(one) == "forced-closed"
    assert one.auto(300)
    assert state(one) == "closed"
    assert not one.auto(301)


@pytest.mark.parametrize(
    "rules",
    [
        {"failures": 0},
        {"failures": 1.1},
        {"failures": True},
        {"calls": 0},
        {"calls": 1.5},
        {"window": 0},
        {"window": -1},
        {"slow": 0},
        {"slow_share": 0},
        {"open_for": 0},
        {"open_for": 10, "cap": 5},
        {"probes": 0},
        {"counts": "ConnectionError"},
        {"counts": (1,)},
        {"counts": 5},
    ],
)
def test_what_cannot_be_is_refused(rules: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="CircuitBreaker"):
        CircuitBreaker("bank", **rules)  # type: ignore[arg-type]


def test_a_name_in_place_of_a_breaker_is_refused_as_it_was_written() -> None:
    async def charge(order: str) -> None: ...

    with pytest.raises(ConfigurationError, match="breaker='bank': give a CircuitBreaker object"):
        App("billing").consume(Topic("orders", str), breaker="bank")(charge)  # type: ignore[call-overload]


def test_a_share_of_calls_is_exact() -> None:
    recent = Recent(0.1, 30, 10)  # 0.1 * 30 is a little more than 3
    assert [recent.note(call, 1.0) for call in (1, 2, 3)] == [False, False, True]


# ---------------------------------------------------------------- whatever happens

SHOWN: dict[State, set[State]] = {
    "closed": {"open", "forced-open", "forced-closed"},
    "open": {"half-open", "forced-open", "forced-closed"},
    "half-open": {"open", "closed", "forced-open", "forced-closed"},
    "forced-open": {"half-open", "forced-closed"},
    "forced-closed": {"closed", "forced-open"},
}

steps = st.lists(
    st.tuples(
        st.sampled_from(["start", "well", "fail", "nothing", "tick", "tick", "open", "close", "auto"]),
        st.floats(0.001, 4.0),
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.integers(1, 6), st.sampled_from([0.25, 0.5, 1.0]), st.integers(1, 3))
def test_whatever_happens_it_moves_by_its_rules(
    happened: list[tuple[str, float]], number: int, share: float, probes: int
) -> None:
    one = circuit(calls=number, failures=share, window=8, open_for=2, cap=7, probes=probes)
    model = Model(number, share, 8)
    now, running = 1000.0, list[float]()
    for what, passed in happened:
        now += passed
        before, since = one.state, one.changed
        if what == "start" and (one.lets_through or one.room):
            one.start()
            running.append(now)
        elif what in {"well", "fail", "nothing"} and running:
            began = running.pop(0)
            failed = {"well": False, "fail": True, "nothing": None}[what]
            one.end(now, began, failed=failed)
            if began >= since and before in {"closed", "forced-closed"} and failed is not None:
                assert (before == "closed" and model.note(now, failed=failed)) == (one.state == "open")
            elif before == "half-open" and began >= since and failed:
                assert one.state == "open"
        elif what == "tick":
            due = before == "open" and now >= one.until
            assert one.tick(now) == due
        else:
            _ACTS.get(what, _ignore)(one, now)
        if one.state != before:
            assert one.state in SHOWN[before]
            assert one.changed == now
            model.forget()
        if one.state == "open":
            assert 2 <= one.until - one.changed <= 7
        probing = sum(began >= one.changed for began in running) if one.state == "half-open" else 0
        assert one.probing == probing <= probes


class Model:
    """All that was counted since it closed."""

    def __init__(self, calls: int, share: float, window: float) -> None:
        self.calls, self.window = calls, window
        self.most = ceil(calls * share)
        self.seen: list[tuple[float, bool]] = []

    def note(self, now: float, *, failed: bool) -> bool:
        self.seen.append((now, failed))
        bad = sum(failed for at, failed in self.seen[-self.calls :] if at >= now - self.window)
        return failed and bad >= self.most

    def forget(self) -> None:
        self.seen.clear()


_ACTS: dict[str, Callable[[Circuit, float], object]] = {
    "open": lambda one, now: one.force(now, "forced-open"),
    "close": lambda one, now: one.force(now, "forced-closed"),
    "auto": lambda one, now: one.auto(now),
}


def _ignore(one: Circuit, now: float) -> None:
    del one, now


def test_what_was_learned_while_it_was_closed_is_forgotten_as_well_when_nobody_uses_it() -> None:
    one = circuit(failures=0.5, calls=4)
    calls(one, 100, True)
    assert not one.leave(101)
    assert one.seen == 0
    calls(one, 102, True)
    assert state(one) == "closed"
