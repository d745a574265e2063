"""Each stricter rule finds what it is for, and nothing where nothing changed."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest

from tests.registry.oracle.generator import Generator
from tests.registry.oracle.mutations import pairs
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.formats.avro.strictness import RULES, findings


def record(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Order", "fields": list(fields), **more}


def field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "State", "symbols": list(symbols), **more}


MILLIS, MICROS = ({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros"))
FOUND: list[tuple[str, Any, Any, str, str, str]] = [
    ("LOGICAL_TYPE_CHANGED", record(field("at", MICROS)), record(field("at", MILLIS)), "/fields/0/type", "/fields/0/type", "written as timestamp-millis, read as timestamp-micros"),
    ("LOGICAL_TYPE_CHANGED", "long", MILLIS, "/", "/", "written as timestamp-millis, read as long"),
    ("LOGICAL_TYPE_CHANGED", MILLIS, {"type": "int", "logicalType": "date"}, "/", "/", "written as date, read as timestamp-millis"),
    ("LOGICAL_TYPE_CHANGED", ["null", {"type": "array", "items": "int"}], {"type": "array", "items": {"type": "int", "logicalType": "date"}}, "/1/items", "/items", "written as date, read as int"),
    ("DECIMAL_SCALE_CHANGED", decimal(8, 3), decimal(8, 2), "/", "/", "written with scale 2, read with scale 3: values are off by 10"),
    ("DECIMAL_PRECISION_REDUCED", decimal(6, 2), decimal(8, 2), "/", "/", "written with up to 8 digits, read with up to 6"),
    ("BYTES_TO_STRING", {"type": "map", "values": "string"}, {"type": "map", "values": "bytes"}, "/values", "/values", "bytes are read as a string: those that are no UTF-8 cannot be read"),
    ("BYTES_TO_STRING", ["null", "bytes"], ["string", "null"], "/1", "/0", "a string is read as bytes: who reads gets bytes where text was written"),
    ("LOSSY_PROMOTION", "double", "long", "/", "/", "long is read as double: large numbers lose their last digits"),
    ("DEFAULT_CHANGED", record(field("vat", "int", default=0)), record(field("no", "int"), field("vat", "int", default=19)), "/fields/0", "/fields/1", "the default of vat was 19 and is 0: what was written without the field now reads otherwise"),
    ("ENUM_DEFAULT_CHANGED", enum("A", "B", default="B"), enum("A", "B", default="A"), "/", "/", "the default of State was A and is B"),
    ("ENUM_DEFAULT_HIDES_SYMBOLS", enum("A", default="A"), enum("A", "B", "C"), "/symbols", "/symbols", "B, C of the writer are read as A"),
    ("RENAMED_WITHOUT_ALIAS", record(field("customer_id", "int", default=0)), record(field("customer", "int"), field("vat", "int")), "/fields/0", "/fields/0", "customer seems to be customer_id now: what was written as customer is dropped, and customer_id reads as its default"),
    ("NAMESPACE_CHANGED", record(namespace="shop"), record(namespace="old"), "/", "/", "old.Order is shop.Order now: some libraries compare full names"),
    ("UNIT_CHANGED", record(field("weight", "int", unit="g")), record(field("weight", "int", unit="kg")), "/fields/0", "/fields/0", 'written in "kg", read in "g"'),
    ("FIELD_REMOVED", record(), record(field("vat", "int")), "/", "/fields/0", "vat is written and no longer read"),
]  # fmt: skip
SILENT: list[tuple[str, Any, Any]] = [
    ("LOGICAL_TYPE_CHANGED", MILLIS, dict(MILLIS)),
    ("DECIMAL_SCALE_CHANGED", decimal(8, 0), {"type": "bytes", "logicalType": "decimal", "precision": 8}),
    ("DECIMAL_SCALE_CHANGED", decimal(8, 0), {"type": "bytes", "logicalType": "decimal", "precision": "many"}),
    ("DECIMAL_PRECISION_REDUCED", decimal(9, 2), decimal(8, 2)),
    ("BYTES_TO_STRING", ["string", "bytes"], ["bytes", "string"]),
    ("LOSSY_PROMOTION", ["double", "long"], "long"),
    ("LOSSY_PROMOTION", "double", "int"),
    ("DEFAULT_CHANGED", record(field("vat", "int", default=0)), record(field("vat", "int"))),
    ("ENUM_DEFAULT_HIDES_SYMBOLS", enum("A", "B", default="A"), enum("B", "A")),
    ("RENAMED_WITHOUT_ALIAS", record(field("customer_id", "int", aliases=["customer"])), record(field("customer", "int"))),
    ("RENAMED_WITHOUT_ALIAS", record(field("price", "int", default=0)), record(field("price_text", "string"))),
    ("NAMESPACE_CHANGED", record(namespace="shop", aliases=["old.Order"]), record(namespace="old")),
    ("UNIT_CHANGED", record(field("weight", "int", unit="g")), record(field("weight", "int"))),
    ("FIELD_REMOVED", record(field("taxes", "int", aliases=["vat"])), record(field("vat", "int"))),
]  # fmt: skip


@pytest.mark.parametrize("case", FOUND, ids=lambda case: case[0])
def test_a_rule_finds_what_it_is_for(case: tuple[str, Any, Any, str, str, str]) -> None:
    rule, reader, writer, location, writer_location, message = case
    [found] = RULES[rule](parse(reader), parse(writer))
    assert (found.type, found.location, found.writer_location) == (rule, location, writer_location)
    assert found.message == message
    assert found.advice.endswith(".")


@pytest.mark.parametrize(("rule", "reader", "writer"), SILENT)
def test_a_rule_is_silent_about_the_rest(rule: str, reader: Any, writer: Any) -> None:
    assert not RULES[rule](parse(reader), parse(writer))


def test_each_rule_is_shown_above() -> None:
    assert {rule for rule, *_ in FOUND} == set(RULES)
    assert all(name == rule.name and rule.meaning for name, rule in RULES.items())


def test_rules_are_chosen_by_name_and_those_that_warn_by_default() -> None:
    reader, writer = parse(record(field("vat", "double"))), parse(record(field("vat", "long"), field("old", "int")))
    assert [found.type for found in findings(reader, writer)] == ["LOSSY_PROMOTION"]
    assert [found.type for found in findings(reader, writer, ["FIELD_REMOVED"])] == ["FIELD_REMOVED"]
    assert findings(reader, writer, []) == ()
    with pytest.raises(KeyError):
        findings(reader, writer, ["NO_SUCH_RULE"])


def test_what_did_not_change_has_no_findings() -> None:
    make = Generator(random.Random(3))
    for _ in range(300):
        with contextlib.suppress(InvalidSchema):
            schema = parse(make.schema())
            assert not findings(schema, schema, RULES)


def test_records_of_ten_thousand_other_fields_are_looked_at_as_well() -> None:
    reader, writer = (parse(record(*(field(f"{name}{n}", "int", default=0) for n in range(10_000)))) for name in "ab")
    found = findings(reader, writer, RULES)
    assert [one.type for one in found] == ["FIELD_REMOVED"] * 10_000


def test_any_two_schemas_can_be_looked_at() -> None:
    found = set()
    for one, other in pairs(4, 1_000):
        try:
            reader, writer = parse(one), parse(other)
        except InvalidSchema:
            continue
        found |= {difference.type for difference in findings(reader, writer, RULES)}
    assert len(found) > 8
