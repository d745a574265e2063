"""A message as text, and back; and whatever others may write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybill import DeadLetterRecord, DecodeError, Message
from waybill.envelope import RESERVED, decode, encode

NOW = datetime(2024, 5, 1, tzinfo=UTC)
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
moments = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
maybe = st.none() | text
records = st.builds(
    DeadLetterRecord,
    reason=text, detail=text, topic=text, group=text, attempts=st.integers(0, 2**31), at=moments,
    first_failure=st.none() | moments, error=maybe, stack=maybe, host=text, process=st.integers(0, 2**31),
)  # fmt: skip
messages = st.builds(
    Message,
    id=text, body=st.none() | st.binary(max_size=50), type=text, source=text, time=moments, key=maybe,
    headers=st.dictionaries(text, text, max_size=3), content_type=maybe, schema=maybe, correlation_id=maybe,
    causation_id=maybe, expires=st.none() | moments, traceparent=maybe, tracestate=maybe, due=st.none() | moments,
    attempts=st.integers(0, 2**31), redrives=st.integers(0, 2**31), first_failure=st.none() | moments,
    dead=st.none() | records,
)  # fmt: skip


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    again = decode(encode(message), message.body, headers=message.headers, topic="other", received=NOW)
    assert again == message


@given(messages)
def test_the_attributes_are_cloud_events_names_and_text(message: Message) -> None:
    attributes = encode(message)
    assert set(attributes) <= RESERVED
    assert all(isinstance(value, str) for value in attributes.values())
    assert attributes["specversion"] == "1.0"
    assert all(name.isascii() and name.isalnum() and name.islower() for name in attributes)


def test_a_fresh_message_has_nothing_of_ours() -> None:
    assert "waybill" not in encode(Message(id="1", body=b"", type="t", source="s", time=NOW))


def test_a_message_from_elsewhere_is_delivered_with_what_it_has() -> None:
    message = decode({"partitionkey": "k"}, b"x", topic="orders", received=NOW)
    assert (message.body, message.key, message.type, message.time, message.source) == (b"x", "k", "orders", NOW, "")
    assert message.id
    assert message.content_type is None


@given(st.dictionaries(st.sampled_from(sorted(RESERVED)) | st.text(max_size=8), st.text(max_size=30), max_size=10))
def test_garbage_is_a_message_or_a_decode_error(attributes: dict[str, str]) -> None:
    try:
        message = decode(attributes, b"", topic="orders", received=NOW)
    except DecodeError:
        assert "waybill" in attributes
        return
    assert message.time.tzinfo is not None
    assert message.id


@pytest.mark.parametrize(
    "written",
    ["", "x", "[]", "null", "{}", '{"v":"1"}', '{"v":2}', '{"v":1,"attempts":"x"}', '{"v":1,"attempts":1e99}',
     '{"v":1,"due":"yesterday"}', '{"v":1,"dead":{}}', "[" * 100_000, '{"v":1,"attempts":' + "9" * 5000 + "}"],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_only_waybill_writes_must_be_readable(written: str) -> None:
    with pytest.raises(DecodeError):
        decode({"waybill": written}, b"", topic="t", received=NOW)


def test_a_later_version_says_so() -> None:
    with pytest.raises(DecodeError, match="later Waybill"):
        decode({"waybill": '{"v":7,"attempts":2}'}, b"", topic="t", received=NOW)


def test_what_a_later_version_of_the_same_number_adds_is_passed_over() -> None:
    assert decode({"waybill": '{"v":1,"attempts":2,"new":true}'}, b"", topic="t", received=NOW).attempts == 2


def test_counts_below_nothing_are_nothing() -> None:
    message = decode({"waybill": '{"v":1,"attempts":-3,"redrives":-1}'}, b"", topic="t", received=NOW)
    assert (message.attempts, message.redrives) == (0, 0)


@pytest.mark.parametrize("given_time", ["2024-05-01T02:00:00+02:00", "2024-05-01T00:00:00Z", "2024-05-01T00:00:00"])
def test_times_are_utc(given_time: str) -> None:
    message = decode({"time": given_time, "expirytime": given_time}, b"", topic="t", received=NOW + timedelta(days=1))
    assert message.time == message.expires == NOW
    assert message.time.utcoffset() == timedelta(0), "Message.time is told in UTC"


@pytest.mark.parametrize("given_time", ["", "soon", "1714521600", "9999-99-99T00:00:00Z"])
def test_a_time_that_cannot_be_read_counts_as_not_given(given_time: str) -> None:
    message = decode({"time": given_time, "expirytime": given_time}, b"", topic="t", received=NOW)
    assert message.time == NOW
    assert message.expires is None


@given(st.integers(-14 * 60, 14 * 60))
def test_a_time_of_another_zone_is_the_same_moment(minutes: int) -> None:
    there: Any = NOW.astimezone(timezone(timedelta(minutes=minutes)))
    message = decode({"time": there.isoformat()}, b"", topic="t", received=NOW + timedelta(days=1))
    assert message.time == NOW
