"""AMQP as bytes, held against the library's own encoder and decoder; and whatever others may write."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as spec
from pamqp import frame as frames
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from waybill_rabbitmq import wire

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
CHANNEL = 7


def parsed(data: bytes) -> list[Any]:
    """The frames, as the library reads them."""
    found = []
    while data:
        size, channel, frame = frames.unmarshal(data)
        assert channel == CHANNEL
        found.append(frame)
        data = data[size:]
    return found


@given(
    st.dictionaries(text.filter(bool), text, max_size=5), st.none() | text, st.none() | text, st.binary(max_size=9000)
)
def test_the_library_reads_a_publish_as_it_was_written(
    headers: dict[str, str], content_type: str | None, ident: str | None, body: bytes
) -> None:
    table = b"".join(wire.field(name, value) for name, value in headers.items()) + wire.number_field("mark", 2**40)
    method = wire.method(CHANNEL, "orders", "key.é", mandatory=True)
    properties = wire.properties(table, content_type=content_type, message_id=ident)
    publish, header, *rest = parsed(wire.publish(CHANNEL, method, properties, body, 4096))
    assert isinstance(publish, spec.Basic.Publish)
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("orders", "key.é", True)
    assert isinstance(header, ContentHeader)
    assert header.body_size == len(body)
    assert header.properties.headers == {**headers, "mark": 2**40}
    assert (header.properties.content_type, header.properties.message_id) == (content_type, ident)
    assert header.properties.delivery_mode == 2
    assert all(isinstance(frame, ContentBody) for frame in rest)
    assert b"".join(frame.value for frame in rest) == body
    assert all(len(frame.value) <= 4096 - 8 for frame in rest)


@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.booleans()), max_size=5))
def test_acknowledgements_are_read_as_they_were_written(tags: list[tuple[int, bool]]) -> None:
    assert [(ack.delivery_tag, ack.multiple) for ack in parsed(wire.acks(CHANNEL, tags))] == tags
    nacks = parsed(wire.nacks(CHANNEL, [tag for tag, _ in tags]))
    assert [(nack.delivery_tag, nack.multiple, nack.requeue) for nack in nacks] == [
        (tag, False, True) for tag, _ in tags
    ]


@given(
    st.dictionaries(
        text.filter(bool),
        st.recursive(
            text | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.none(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text.filter(bool), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    ),
    text,
    st.integers(0, 9),
)
def test_what_the_library_writes_is_read(headers: dict[str, Any], app: str, priority: int) -> None:
    written = spec.Basic.Properties(headers=headers, app_id=app, priority=priority, content_encoding="gzip")
    found = wire.read(ContentHeader(properties=written).marshal()[12:])
    assert found.headers == headers
    expected = {"app_id": app, "priority": priority, "content_encoding": "gzip"}
    assert found.values == {name: value for name, value in expected.items() if value != ""}


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_a_value_error(raw: bytes) -> None:
    with suppress(ValueError):
        wire.read(raw)


def nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = b"\x01tF" + struct.pack(">I", len(table)) + table
    return b"\x20\x00" + struct.pack(">I", len(table)) + table


def test_a_date_beyond_all_calendars_is_a_number() -> None:
    assert wire.read(b"\x00\x40" + struct.pack(">Q", 2**63)).values == {"timestamp": 2**63}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80\x00\x02\xff\xfe",
        nested(900),
        b"\x20\x00\xff\xff\xff\xff",
        b"\x00\x01\x00\x00",
        b"\x20\x00\0\0\0\x03\x01kZ",
    ],
    ids=["nothing", "no UTF-8", "900 deep", "too long", "more flags", "an unknown type"],
)
def test_what_kills_other_clients_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        wire.read(raw)


def test_what_does_not_fit_into_a_frame_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="255"):
        wire.field("x" * 256, "")
    properties = wire.properties(wire.field("x", "y" * 5000), content_type=None, message_id=None)
    with pytest.raises(ValueError, match="headers"):
        wire.publish(1, b"", properties, b"", 4096)
