"""What is said of an incompatibility is proved by a datum, and no datum proves what is not so."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_reader, schemaless_writer

from tests.brokers.running import Unavailable
from tests.leaving_out import leave_out
from tests.registry.oracle.java import oracle
from tests.registry.oracle.mutations import pairs
from waybill_schema_registry.compatibility import check, check_level
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.counterexample import misreading
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.formats.avro.specimens import LARGEST, sizes
from waybill_schema_registry.formats.avro.strictness import RULES, findings
from waybill_schema_registry.formats.format import Counterexample


def record(name: str, *fields: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": name, "type": type_} for name, type_ in fields], **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "State", "symbols": list(symbols), **more}


def decimal(scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": scale}


def fixed(size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size}


@pytest.mark.parametrize(
    ("reader", "writer", "datum"),
    [
        ("int", "string", "a"),
        (record("R", ("a", "int")), record("R"), {}),
        (record("R", ("s", enum("A", "B"))), record("R", ("x", "long"), ("s", enum("B", "C"))), {"x": 1, "s": "C"}),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, [1]),
        ({"type": "map", "values": ["null", "int"]}, {"type": "map", "values": ["null", "string"]}, {"a": "a"}),
        (fixed(2), fixed(3), b"\1\1\1"),
        (["null", {"type": "array", "items": "boolean"}], {"type": "array", "items": "null"}, [None]),
        (["null", record("R", ("s", enum("A")))], record("R", ("s", enum("A", "B"))), {"s": "B"}),
        (
            record("Tree", ("left", ["null", "Tree"]), ("at", "int")),
            record("Tree", ("left", ["null", "Tree"]), ("at", "string")),
            {"left": None, "at": "a"},
        ),
    ],
)
def test_the_datum_goes_to_where_it_breaks(reader: Any, writer: Any, datum: Any) -> None:
    shown = check(reader, writer).counterexample
    assert shown is not None
    assert shown.datum == datum
    out = BytesIO()
    schemaless_writer(out, writer, datum)
    assert out.getvalue() == shown.body
    assert schemaless_reader(BytesIO(shown.body), writer, None) == datum
    assert shown.difference in check(reader, writer).incompatibilities
    assert shown.what_happened


def test_what_is_compatible_has_none() -> None:
    assert check("long", "int").counterexample is None


def test_what_can_never_be_written_has_none() -> None:
    endless = record("R", ("again", "R"))
    assert check("int", endless).counterexample is None
    assert check("int", []).counterexample is None
    assert check("int", fixed(2_000_000_000)).counterexample is None


def test_a_schema_that_doubles_at_each_step_has_none_and_takes_no_time() -> None:
    text = '"int"'
    for level in range(60):
        again = f'"L{level - 1}"' if level else text
        text = f'{{"type": "record", "name": "L{level}", "fields": [{{"name": "a", "type": {text}}}, {{"name": "b", "type": {again}}}]}}'
    assert check("int", json.loads(text)).counterexample is None


def test_deep_schemas_have_none_and_harm_nobody() -> None:
    deep: Any = "int"
    for _ in range(400):
        deep = {"type": "array", "items": deep}
    assert check("int", deep).counterexample is None


def test_a_level_shows_it_for_the_version_that_fails() -> None:
    report = check_level("FULL", [record("R", ("a", "int"))], record("R", ("a", "long"), ("b", "int")))
    found = {step.direction: step.report.counterexample for step in report.steps}
    assert {direction: one and one.datum for direction, one in found.items()} == {
        "forward": {"a": 1, "b": 1},
        "backward": {"a": 1},
    }


@pytest.mark.parametrize(
    ("rule", "reader", "writer", "datum", "outcome"),
    [
        ("BYTES_TO_STRING", "string", "bytes", b"\xff", "refused"),
        ("BYTES_TO_STRING", "bytes", "string", "a", "misread"),
        ("DECIMAL_SCALE_CHANGED", decimal(3), decimal(2), b"a", "misread"),
        ("LOSSY_PROMOTION", "double", "long", 2**63 - 1, "misread"),
        ("LOGICAL_TYPE_CHANGED", "int", {"type": "int", "logicalType": "date"}, 1, "misread"),
        ("LOGICAL_TYPE_CHANGED", {"type": "int", "logicalType": "date"}, "int", 2**31 - 1, "refused"),
        ("ENUM_DEFAULT_HIDES_SYMBOLS", enum("A", default="A"), enum("A", "B"), "B", "misread"),
    ],
)
def test_a_stricter_rule_is_proved_by_what_is_made_of_the_datum(
    rule: str, reader: Any, writer: Any, datum: Any, outcome: str
) -> None:
    reader, writer = (record("R", ("a", ["null", schema])) for schema in (reader, writer))
    parsed = parse(reader), parse(writer)
    assert check(reader, writer).compatible
    [finding] = RULES[rule](*parsed)
    shown = misreading(*parsed, finding)
    assert shown is not None
    assert (shown.datum, shown.outcome, shown.difference) == ({"a": datum}, outcome, finding)


def test_a_misreading_tells_what_was_written_and_what_was_read() -> None:
    reader, writer = parse(decimal(3)), parse(decimal(2))
    shown = misreading(reader, writer, RULES["DECIMAL_SCALE_CHANGED"](reader, writer)[0])
    assert shown is not None
    assert shown.what_happened == "written as Decimal('0.97'), read as Decimal('0.097')"


def test_what_is_read_as_it_was_written_is_no_misreading() -> None:
    reader, writer = parse(record("R", namespace="a")), parse(record("R", namespace="b"))
    [finding] = RULES["NAMESPACE_CHANGED"](reader, writer)
    assert misreading(reader, writer, finding) is None


def judged(seed: int, count: int) -> Iterator[tuple[Any, Any, Counterexample | None]]:
    """Incompatible pairs of schemas that may be registered, whose writer has data at all, with what proves it."""
    for reader, writer in pairs(seed, count):
        try:
            for schema in (reader, writer):
                root = parse(schema, strict=True).root
        except InvalidSchema:
            continue
        report = check(reader, writer)
        if not report.compatible and sizes(root)[id(root)] <= LARGEST:
            yield reader, writer, report.counterexample


def test_nearly_each_incompatibility_is_proved() -> None:
    found = [shown for _, _, shown in judged(8, 1_500)]
    assert len(found) > 250
    assert sum(shown is not None for shown in found) / len(found) > 0.9


def test_avro_java_refuses_these_data_as_well() -> None:
    """But for records of other names, which its decoder takes and its own checker does not."""
    with contextlib.ExitStack() as stack:
        try:
            java = stack.enter_context(oracle())
        except Unavailable as problem:
            leave_out(f"Avro Java is left out: {problem}")
        shown = [(reader, writer, one) for reader, writer, one in judged(9, 1_500) if one]
        questions = [{"reader": reader, "writer": writer, "body": one.body.hex()} for reader, writer, one in shown]
        taken = [
            (question, one)
            for (question, answer), (_, _, one) in zip(java.answers(questions), shown, strict=True)
            if "read" in answer and one.reason != "NAME_MISMATCH"
        ]
    assert not taken


def test_whatever_a_rule_finds_can_be_asked_for_a_misreading() -> None:
    outcomes = set()
    for one, other in pairs(10, 1_000):
        try:
            reader, writer = parse(one), parse(other)
        except InvalidSchema:
            continue
        for finding in findings(reader, writer, RULES):
            shown = misreading(reader, writer, finding)
            outcomes.add((finding.type, shown.outcome if shown else None))
    assert ("LOGICAL_TYPE_CHANGED", "misread") in outcomes
