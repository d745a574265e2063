"""`explain` answers, before anything starts, what happens to a message that fails, and when."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from waybill import App, Retry, Settings, Topic
from waybill.explaining import timeline
from waybill.retry import duration


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
    ("seconds", "text"), [(0.05, "0.05 s"), (90, "90 s"), (900, "15 min"), (7200, "2 h"), (259_200, "3 d")]
)
def test_durations_are_said_in_the_unit_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_no_retries_is_one_attempt() -> None:
    assert timeline(Retry.none()) == "1 attempt, then dead-lettered"
