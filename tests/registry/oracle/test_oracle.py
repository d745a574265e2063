"""What Avro Java says of random schemas and pairs, and what we say. More of them: python -m tests.registry.oracle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.brokers.running import Unavailable
from tests.leaving_out import leave_out
from tests.registry.oracle.comparing import Tally, compare_pairs, compare_schemas
from tests.registry.oracle.java import Oracle, oracle
from tests.registry.oracle.mutations import pairs
from tests.registry.oracle.odd import ODD

PAIRS = 3_000


@pytest.fixture(scope="module")
def java() -> Iterator[Oracle]:
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(oracle())
        except Unavailable as problem:
            leave_out(f"Avro Java is left out: {problem}")
        yield running


def test_the_oracle_itself_tells_what_is_known(java: Oracle) -> None:
    assert java.answer(schema="string") == {
        "text": '"string"',
        "canonical": '"string"',
        "crc64": "8f014872634503c7",  # of the tests of Avro itself
    }
    [found] = java.answer(reader="int", writer="long")["incompatibilities"]
    assert found["message"] == "reader type: INT not compatible with writer type: LONG"
    assert "refused" in java.answer(schema="no-such-type")
    assert java.answer(reader="long", writer="int", body="04")["read"] == "2"
    assert "expecting int" in java.answer(reader="int", writer="long", body="04")["failed"]


def test_random_pairs_are_judged_as_avro_java_does(java: Oracle) -> None:
    tally = Tally()
    compare_pairs(java, pairs(20, PAIRS), tally)
    assert tally.counts["compatible pairs"] > PAIRS / 5
    assert tally.counts["incompatible pairs"] > PAIRS / 5
    assert first(tally.verdicts) is None
    assert first(tally.reports) is None
    assert first(tally.refusals) is None


def test_random_schemas_are_taken_and_written_as_avro_java_does(java: Oracle) -> None:
    tally = Tally()
    compare_schemas(java, (schema for pair in pairs(21, PAIRS // 4) for schema in pair), tally)
    assert first(tally.texts) is None
    assert first(tally.refusals) is None


def test_odd_schemas_are_taken_and_written_as_avro_java_does(java: Oracle) -> None:
    tally = Tally()
    compare_schemas(java, ODD, tally)
    assert tally.counts["schemas that were refused"] > len(ODD) / 4
    assert first(tally.texts) is None
    assert first(tally.refusals) is None


def first(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The shortest of them, which is easiest to understand."""
    return min(found, key=lambda one: len(str(one)), default=None)
