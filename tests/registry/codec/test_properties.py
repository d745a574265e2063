"""For any schema: any value comes back equal, any bytes are a value or a `DecodeError`, and never anything else."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.registry.codec.posting import long_
from tests.registry.codec.schemas import schemas
from tests.registry.codec.shelf import Shelf
from waybill import DecodeError, Topic
from waybill_schema_registry.codec import Avro, decode, encode

SLOW = settings(deadline=None, max_examples=100, derandomize=True, suppress_health_check=list(HealthCheck))


def topic_of(schema: Any) -> Topic:
    return Topic("things", dict, codec=Avro(Shelf(), schema=schema))


def value_of(topic: Topic, body: bytes) -> Any:
    try:
        return decode(topic, body)
    except DecodeError:
        return DecodeError


@SLOW
@given(st.data())
def test_any_value_comes_back(data: st.DataObject) -> None:
    schema, values = data.draw(schemas())
    topic = topic_of(schema)
    for _ in range(3):
        value = data.draw(values)
        body = encode(topic, value)
        assert decode(topic, body) == value


@SLOW
@given(st.data())
def test_any_bytes_are_a_value_or_refused(data: st.DataObject) -> None:
    schema, values = data.draw(schemas())
    topic = topic_of(schema)
    sound = encode(topic, data.draw(values))
    for _ in range(5):
        junk = data.draw(st.one_of(st.binary(max_size=60), _spoiled(sound[5:])))
        value = value_of(topic, sound[:5] + junk)
        if value is not DecodeError:
            again = encode(topic, value)
            assert decode(topic, again) == value or _has_nan(value)
    assert decode(topic, sound) is not None


@given(st.binary(max_size=40))
@settings(deadline=None, max_examples=300, derandomize=True)
@example(b"")
def test_any_body_at_all(body: bytes) -> None:
    assert value_of(KNOWN, body) is DecodeError or body[:5] == SOUND[:5]


KNOWN = topic_of({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]})
SOUND = encode(KNOWN, {"a": "x"})


@st.composite
def _spoiled(draw: Any, sound: bytes) -> bytes:
    """A body with a few bytes changed, taken out or put in; often a number that is too large."""
    body = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        piece = draw(
            st.one_of(st.binary(max_size=3), st.integers(-(2**63), 2**63 - 1).map(long_), st.just(b"\xff" * 11))
        )
        body[place : place + draw(st.integers(0, 3))] = piece
    return bytes(body)


def _has_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    return any(map(_has_nan, value)) if isinstance(value, list) else value != value  # noqa: PLR0124
