"""`explain` answers, before anything starts, what happens to a message that fails, and when."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybill import (
    App,
    Batch,
    Bulkhead,
    CircuitBreaker,
    RateLimit,
    Retry,
    RetryBudget,
    Settings,
    Topic,
    TopicPattern,
)
from waybill.adapter import Capabilities
from waybill.course import course, drawn
from waybill.explaining import timeline
from waybill.loading import open_adapter, use_adapter
from waybill.outcomes import Ack, DeadLetter, Defer, Release, SettlementKind
from waybill.retry import Wait, duration
from waybill_contracts.mutants.wrapping import Wrapped


@dataclass
class Order:
    customer: str


orders = Topic("orders", Order, key=lambda order: order.customer)


def app(url: str = "sqlite:///never-opened.db") -> App:
    made = App("billing", settings=Settings(url=url, lease=20))

    @made.consume(
        orders,
        ordered=True,
        concurrency=8,
        timeout=120,
        retry=Retry.exponential(
            5, first=1, cap=60, never=[PermissionError], per={ConnectionError: Retry.fixed(3, delay=600)}
        ),
    )
    async def charge(_: Order) -> None: ...

    return made


def test_it_says_what_happens_to_a_message_that_fails_five_times_and_when() -> None:
    (one,) = app().explain()
    facts = dict(one.facts)
    assert one.subscription == "orders/billing"
    assert one.handler.endswith("charge")
    assert facts["a message that fails"].startswith("5 attempts within 15 s (at most 1 s, 2 s, 4 s, 8 s apart")
    assert facts["a message that fails"].endswith("then dead-lettered")
    assert facts["… with ConnectionError"].startswith("3 attempts within 20 min (10 min, 10 min apart")
    assert "PermissionError" in facts["never tried again"]
    assert facts["a handler that runs long"].startswith("cancelled after 2 min")
    assert "20 s" in facts["a process that dies"]
    assert "a key waits" in facts["order"]
    assert facts["a restart of the broker"] == "confirmed messages are kept"


def test_a_weaker_guarantee_is_said_aloud() -> None:
    (one,) = app("memory://").explain()
    assert "LOST" in dict(one.facts)["a restart of the broker"]


@pytest.mark.parametrize(
    ("native", "longest", "said"),
    [
        ({Ack, Release, Defer, DeadLetter}, None, {}),
        (
            {Ack, Release, Defer, DeadLetter},
            900.0,
            {"waiting for a retry": "beyond 15 min emulated: a copy is published"},
        ),
        ({Ack, Release, Defer}, None, {"becoming a dead letter": "emulated: a copy is published"}),
        (
            {Ack, Release},
            None,
            {"waiting for a retry": "emulated: a copy is", "becoming a dead letter": "emulated: a copy is"},
        ),
    ],
)
async def test_what_the_broker_does_not_settle_by_itself_is_said_before_and_at_the_start(
    native: set[SettlementKind], longest: float | None, said: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    class Less(Wrapped):
        native_settlements = frozenset(native)

        def changed_capabilities(self, can: Capabilities) -> Capabilities:
            return msgspec.structs.replace(can, longest_defer=longest)

    use_adapter("less", lambda _, context: Less(open_adapter("memory://", context)))
    facts = dict(app("less://").explain()[0].facts)
    emulated = {what: how for what, how in facts.items() if "emulated" in how}
    assert emulated.keys() == said.keys()
    assert all(emulated[what].startswith(how) for what, how in said.items())
    with caplog.at_level("INFO", "waybill"):
        async with app("less://").running():
            pass
    assert all(f"orders/billing: {what}: {how}" in caplog.text for what, how in said.items())
    assert ("emulated" in caplog.text) == bool(said)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.05, "0.05 s"), (90, "90 s"), (900, "15 min"), (7200, "2 h"), (259_200, "3 d")]
)
def test_durations_are_said_in_the_unit_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_no_retries_is_one_attempt() -> None:
    assert timeline(Retry.none()) == "1 attempt, then dead-lettered"


def test_what_a_topic_and_a_group_ask_is_said() -> None:
    app = App("billing", settings=Settings(url="memory://"))
    kept = Topic("kept", str, retention=3 * 86_400, max_length=500, dedup_window=600, unrouted="accept")

    @app.consume(kept, where={"region": ["eu", "uk"]}, start="earliest", batch=Batch(100, wait=0.5))
    async def handle(values: list[str]) -> None: ...

    @app.consume(TopicPattern("orders.*", str), ephemeral=True)
    async def listen(value: str) -> None: ...

    first, second = (dict(explained.facts) for explained in app.explain())
    assert first["only messages"] == "whose header region is eu or uk"
    assert first["a new group begins"] == "with all that the topic still keeps"
    assert "up to 100 messages or what has come in 0.5 s" in first["handlers at once"]
    assert first["what was handled"].startswith("is kept for 3 d")
    assert first["a full group"].startswith("at 500 messages")
    assert first["a second message of one id"].startswith("within 10 min")
    assert first["a message for no group"] == "is confirmed all the same"
    assert second["topics"].startswith("every topic that fits orders.*")
    assert second["dead letters"].startswith("GO WITH THE GROUP")


def test_what_stands_around_a_handler_is_said() -> None:
    class DeclinedError(Exception):
        pass

    app = App("billing", settings=Settings(url="memory://"), errors={ConnectionError: "systemic"})

    @app.consume(
        orders,
        limit=RateLimit(50),
        budget=RetryBudget(0.2),
        bulkhead=Bulkhead("database", 20),
        breaker=CircuitBreaker("bank", slow=2),
        errors={DeclinedError: "permanent"},
    )
    async def charge(_: Order) -> None: ...

    @app.consume(orders, group="plain", limit=RateLimit(5, by="key"), retry=Retry.fixed(3, delay=1, heed=0))
    async def other(_: Order) -> None: ...

    first, second = (dict(explained.facts) for explained in app.explain())
    assert first["starts at most"].startswith("50 in 1 s, 5 at once, in each process; what could not start soon")
    assert first["retries"].startswith("at most 20% of the handlings, and 10 in 10 s")
    assert first["shares"].startswith("database: at most 20 at once")
    assert "bank: when 50% of 20 handlings fail within 10 s, or 50% take longer than 2 s" in first["depends on"]
    assert first["permanent errors"] == "DeclinedError: dead-lettered at once"
    assert first["systemic errors"].startswith("ConnectionError: tried again")
    assert first["Retry-After"].endswith("up to 60 min")
    assert second["starts at most"].endswith("others pass meanwhile")
    assert not second.keys() & {"retries", "shares", "depends on", "permanent errors", "Retry-After"}


def test_the_course_of_a_message_that_always_fails_is_drawn() -> None:
    lines = list(drawn(course(Retry.exponential(4, first=1), 60.0)))
    assert [line.split(maxsplit=4)[4] for line in lines[1:]] == [
        "● attempt 1",
        "● attempt 2",
        "● attempt 3",
        "● attempt 4",
        "✗ dead letter: retries_exhausted",
    ]
    assert lines[-2].split()[:4] == ["7", "s", "3.12", "min"]
    assert lines[-1].split()[:4] == ["7", "s", "4.12", "min"]
    assert all(len(line) <= 76 for line in lines)


def test_the_course_ends_at_the_greatest_age_and_is_short_however_many_attempts() -> None:
    steps = course(Retry.fixed(100, delay=10, max_age=35), None)
    assert [step.at for step in steps] == [0, 10, 20, 30, 30]
    assert steps[-1].what == "dead letter: expired"
    assert {step.by for step in steps} == {None}
    lines = list(drawn(course(Retry.fixed(100, delay=10), 1.0)))
    assert len(lines) < 15
    assert "attempt 100" in lines[-2]


@given(st.integers(1, 30), st.floats(0, 100), st.one_of(st.none(), st.floats(0, 1000)), st.floats(0, 10))
def test_the_course_is_what_the_policy_decides(attempts: int, delay: float, age: float | None, timeout: float) -> None:
    retry = Retry.fixed(attempts, delay=delay, max_age=age)
    steps, at, attempt = course(retry, timeout), 0.0, 1
    while isinstance(decision := retry.decide(attempt, ValueError(), age=at, chance=0.0), Wait):
        at += decision.delay
        attempt += 1
        assert steps[attempt - 1].at == pytest.approx(at)
    assert steps[-1].what.split(",")[0] == f"dead letter: {decision.reason}"
    assert len(steps) == attempt + 1


def test_where_attempts_time_out_those_that_its_age_leaves_no_time_for_are_not_drawn() -> None:
    steps = course(Retry.fixed(5, delay=10, max_age=45), 60.0)
    assert [step.at for step in steps] == [0, 10, 20, 30, 40, 40]
    assert [step.by for step in steps] == [0, 70, None, None, None, 130]
    assert steps[-1].what == "dead letter: retries_exhausted, or expired"


@given(st.integers(1, 9), st.floats(0, 100), st.one_of(st.none(), st.floats(0, 1000)), st.floats(0.1, 100))
def test_the_course_of_what_times_out_is_what_the_policy_decides(
    attempts: int, delay: float, age: float | None, timeout: float
) -> None:
    retry = Retry.fixed(attempts, delay=delay, max_age=age)
    steps, at, attempt = course(retry, timeout), 0.0, 1
    while isinstance(
        decision := retry.decide(attempt, ValueError(), age=at + (attempt - 1) * timeout, chance=0.0), Wait
    ):
        at += decision.delay
        attempt += 1
        assert steps[attempt - 1].by == pytest.approx(at + (attempt - 1) * timeout)
    assert [step.by for step in steps[attempt:-1]] == [None] * (len(steps) - 1 - attempt)
    assert steps[-1].by == pytest.approx(at + attempt * timeout)
    assert steps[-1].what.endswith(decision.reason)
