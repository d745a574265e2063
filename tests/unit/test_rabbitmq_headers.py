"""A message as AMQP properties, and back; and messages of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as spec
from pamqp.header import ContentHeader

from tests.unit.test_envelope import messages
from waybill import Message
from waybill.envelope import UNREADABLE
from waybill.topology import Subscription, TopicSpec
from waybill_rabbitmq import headers

NOW = datetime(2024, 5, 1, tzinfo=UTC)
BILLING = Subscription(topic=TopicSpec("orders"), group="billing")


def received(raw: bytes, body: bytes = b"{}") -> Message:
    return headers.read(raw, body, subscription=BILLING, received=NOW)[0]


def foreign(**properties: Any) -> bytes:
    """As the library writes them, for any program."""
    return ContentHeader(properties=spec.Basic.Properties(**properties)).marshal()[12:]


def carried(message: Message) -> bool:
    """Whether `App.publish` takes such headers."""
    return not any(n.startswith(("x-", "waybill", "cloudEvents")) or len(n.encode()) > 255 for n in message.headers)


@given(messages.filter(carried), st.integers(1, 2**40))
def test_a_message_comes_back_as_it_was_but_for_when_it_is_due(message: Message, mark: int) -> None:
    raw = headers.write(message, mark)
    assert received(raw, message.body or b"") == msgspec.structs.replace(message, due=None)
    assert headers.mark_of(raw) == mark


def test_a_message_without_anything_is_delivered_with_what_it_has() -> None:
    message = received(foreign(), b"hello")
    assert (message.body, message.type, message.time, dict(message.headers)) == (b"hello", "orders", NOW, {})
    assert message.id


def test_a_foreign_programs_properties_are_taken_for_what_they_say() -> None:
    at = datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC)
    message = received(
        foreign(
            message_id="m-1", correlation_id="c-1", content_type="application/json", timestamp=at,
            headers={"region": "eu", "count": 3, "sure": True, "raw": bytearray(b"\xff"), "nested": {"a": [1]}, "x-death": []},
        )
    )  # fmt: skip
    assert (message.id, message.correlation_id, message.content_type, message.time) == (
        "m-1", "c-1", "application/json", at,
    )  # fmt: skip
    assert dict(message.headers) == {
        "region": "eu", "count": "3", "sure": "true", "raw": "\\xff", "nested": '{"a": [1]}',
    }  # fmt: skip


def test_what_nobody_can_read_is_a_stand_in_with_its_bytes() -> None:
    message = received(b"\x80\x00\x02\xff\xfe", b"the body")
    assert (message.content_type, message.body) == (UNREADABLE, b"the body")
    assert message.headers["attributes"] == "gAAC//4="
    assert "utf-8" in message.headers["unreadable"]


def test_what_the_broker_gave_up_says_why() -> None:
    death = {"reason": "delivery_limit", "queue": "orders/billing", "count": 1}
    last = {"x-last-death-reason": "delivery_limit", "x-last-death-queue": "orders/billing"}
    message = received(foreign(message_id="m", headers={"x-death": [death], "x-delivery-count": 31, **last}))
    assert message.dead is not None
    assert (message.dead.reason, message.dead.topic, message.dead.group) == ("delivery_limit", "orders", "billing")
    assert "delivery_limit" in message.dead.detail


@pytest.mark.parametrize(
    ("said", "reason", "disposition"),
    [
        ("expired", "expired", "policy"),
        ("maxlen", "max_length", "policy"),
        ("rejected", "rejected", ""),
        ("delivery_limit", "delivery_limit", "poison"),
    ],
)
def test_a_letter_of_the_broker_is_the_same_at_every_look(said: str, reason: str, disposition: str) -> None:
    died = datetime(2026, 11, 1, 12, tzinfo=UTC)
    death = {
        "reason": said, "queue": "orders/billing", "count": 7, "time": died, "exchange": "orders", "routing-keys": ["eu"],
    }  # fmt: skip
    other = {"reason": "expired", "queue": "waybill/delay/03", "count": 99, "time": NOW}
    last = {"x-last-death-reason": said, "x-last-death-queue": "orders/billing"}
    raw = foreign(headers={"x-death": [other, death], **last})

    def look(at: datetime) -> Message:
        return headers.read(raw, b"body", subscription=BILLING, received=at, dead=True)[0]

    found = look(NOW)
    assert found.dead is not None
    assert (found.dead.reason, found.dead.disposition) == (reason, disposition)
    assert (found.dead.at, found.dead.place) == (died, "orders:eu:orders/billing")
    assert found.dead.attempts == 0, "the broker's count is not ours"
    again = look(NOW + timedelta(hours=1))
    assert (again.id, again.dead) == (found.id, found.dead), "though it came without an id"


def test_what_came_up_the_ladder_or_died_elsewhere_is_no_dead_letter() -> None:
    for queue in ("waybill/delay/03", "orders/shipping", "orders/billing2"):
        last = {"x-last-death-reason": "expired", "x-last-death-queue": queue, "x-death": [{"queue": queue}]}
        assert received(foreign(headers=last)).dead is None
