"""Kafka: messages as records, and records of whoever wrote them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from waybill import Message
from waybill.envelope import UNREADABLE
from waybill_kafka.records import Headers, key_of, read, when, write

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def made(key: bytes | None, value: bytes | None, headers: Headers = ()) -> Message:
    return read(key, value, headers, topic="orders", published=NOW)


def test_a_message_is_read_as_it_was_written() -> None:
    message = Message(
        id="1", body=b"x", type="orders", source="shop", time=NOW, key="ключ", headers={"a": "ü", "b": ""}, attempts=2
    )
    headers = write(message)
    assert made(key_of(message), message.body, headers) == message
    assert dict(headers)["ce_id"] == b"1"
    assert dict(headers)["ce_specversion"] == b"1.0"


def test_a_record_without_any_envelope_is_a_message_with_what_it_has() -> None:
    message = made(None, b"{}")
    assert (message.body, message.key, message.type, message.time) == (b"{}", None, "orders", NOW)
    assert message.id
    assert dict(message.headers) == {}


def test_a_tombstone_has_no_body_and_an_empty_value_has_one() -> None:
    assert made(b"k", None).body is None
    assert made(b"k", b"").body == b""


def test_of_headers_of_one_name_the_last_counts_and_odd_ones_are_read_somehow() -> None:
    message = made(None, b"", [("a", b"1"), ("a", b"2"), ("none", None), ("bytes", b"\xff\x00")])
    assert dict(message.headers) == {"a": "2", "none": "", "bytes": "\\xff\x00"}


def test_a_cloud_event_of_somebody_else_is_read_by_its_binding() -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"42"),
        ("ce_type", b"com.example.placed"),
        ("ce_source", b"/shop"),
        ("ce_time", b"2026-04-30T10:00:00Z"),
        ("content-type", b"application/json"),
    ]
    message = made(b"customer-7", b"{}", headers)
    assert (message.id, message.type, message.source, message.key) == (
        "42",
        "com.example.placed",
        "/shop",
        "customer-7",
    )
    assert message.content_type == "application/json"
    assert message.time == datetime(2026, 4, 30, 10, tzinfo=UTC)


@pytest.mark.parametrize("transit", [b"{", b"[]", b'{"v":99}', b"\xff"])
def test_what_we_should_have_written_and_cannot_read_becomes_a_stand_in_with_its_bytes(transit: bytes) -> None:
    message = made(b"k", b"body", [("waybill", transit), ("ce_id", b"7")])
    assert (message.content_type, message.body, message.id, message.key) == (UNREADABLE, b"body", "7", "k")


def test_a_key_that_is_no_text_is_one_all_the_same() -> None:
    assert made(b"\xff\x01", b"").key == "\\xff\x01"


@pytest.mark.parametrize("timestamp", [-1, 0, None, 10**18])
def test_a_timestamp_that_is_none_is_no_failure(timestamp: int | None) -> None:
    assert when(timestamp).tzinfo is UTC
