"""A short look at what `make fuzz` looks at for longer."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import ORDER, TARGETS, TREE

MOST = 64 << 20
"""Bytes that one input may take while it is looked at."""


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, derandomize=True)
@given(data=st.binary(max_size=512))
def test_any_bytes_are_taken_or_refused(target: str, data: bytes) -> None:
    within_bounds(target, data)


NASTY = [
    *(bytes([schema]) + head + b"\xff" * 9 + b"\x7f" for schema in range(6) for head in (b"", b"\0", b"\2\2")),
    *(bytes([schema]) + b"\2" * 20_000 for schema in range(6)),
    bytes([3]) + b"\2\2" * 30_000,
]


def test_what_is_meant_to_harm_does_not() -> None:
    for data in NASTY:
        within_bounds("body", data)
        within_bounds("body_of_any_schema", data)


TEXTS = [
    json.dumps(ORDER),
    json.dumps(TREE),
    "[" * 5_000,
    '{"type": "array", "items": ' * 2_000,
    '{"type": "array", "items": ' * 500 + '"int"' + "}" * 500,
    '{"type": "fixed", "name": "F", "size": ' + "9" * 5_000 + "}",
    '"' + "a." * 10_000 + '"',
    '{"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}',
    '{"type": "record", "name": "../../etc/passwd", "fields": []}',
    '{"type": "enum", "name": "E", "symbols": [' + ",".join(f'"S{n}"' for n in range(20_000)) + "]}",
    '{"type": "record", "name": "R", "fields": [{"name": "f", "type": "double", "default": 1e999999999}]}',
    '{"type": "int", "x": ' + "1" * 10_000 + "}",
    '\ufeff"int"',
    '"int" "int"',
    '{"type": "string", "doc": "\\ud800"}',
]


def test_schemas_that_are_meant_to_harm_do_not() -> None:
    for text in TEXTS:
        within_bounds("schema_text", text.encode())


def within_bounds(target: str, data: bytes) -> None:
    tracemalloc.start()
    try:
        TARGETS[target](data)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
