"""Contracts in `.avsc` files: subjects, and types that one file takes from another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.registry.gate.calling import record
from waybill.errors import ConfigurationError
from waybill_schema_registry import InvalidSchema, Reference
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.formats.avro.schema import named_types
from waybill_schema_registry.gate.contract import Contract
from waybill_schema_registry.gate.files import files_in, from_files
from waybill_schema_registry.gate.names import names_in
from waybill_schema_registry.gate.registering import in_order


def contracts(subjects: dict[str, str] | None = None, **texts: str) -> dict[str, Contract]:
    for name, text in texts.items():
        Path(f"{name}.avsc").write_text(text)
    return {one.subject: one for one in from_files(files_in([Path()]), subjects or {})}


def test_subjects_are_the_names_of_files_unless_they_are_named() -> None:
    found = contracts({"b.avsc": "orders.placed-value"}, a=record("x:int"), b=record("x:int", name="B"))
    assert {subject: one.source.file for subject, one in found.items()} == {
        "a": "a.avsc",
        "orders.placed-value": "b.avsc",
    }


def test_a_type_of_another_file_is_a_reference_to_its_subject() -> None:
    found = contracts(
        a_order=record("customer:Customer", 'others:{"type": "array", "items": "Customer"}'),
        customer=record("address:Address", name="Customer"),
        z_address=record("street:string", name="Address"),
    )
    assert found["a_order"].references == (Reference(name="Customer", subject="customer"),)
    assert list(found["a_order"].types) == ["Address", "Customer"]  # those that others need first
    assert {"Order", "Customer", "Address"} == set(named_types(found["a_order"].understood().root))
    assert [one.subject for one in in_order(found)] == ["z_address", "customer", "a_order"]


def test_names_follow_their_namespaces() -> None:
    schema = json.loads(
        record("c:Customer", "d:other.D", 'e:{"type": "record", "name": "x.E", "fields": []}', name="shop.Order")
    )
    found = names_in(schema)
    assert found.defined == ("shop.Order", "x.E")
    assert found.foreign == ("shop.Customer", "other.D")


def test_files_that_need_one_another_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Define these types in one file"):
        contracts(a=record("b:B", name="A"), b=record("a:A", name="B"))


def test_a_type_that_two_files_define_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"a\.avsc and b\.avsc both define Order"):
        contracts(a=record("x:int"), b=record("y:int"))


def test_two_files_of_one_subject_are_refused(here: Path) -> None:
    (here / "more").mkdir()
    (here / "more/a.avsc").write_text(record("y:int", name="Other"))
    with pytest.raises(ConfigurationError, match="two contracts have the subject a"):
        contracts(a=record("x:int"))


def test_a_type_that_nobody_defines_is_for_the_parser_to_tell() -> None:
    (one,) = contracts(a=record("b:Nowhere")).values()
    with pytest.raises(InvalidSchema, match=r"a\.avsc.*Nowhere"):
        one.understood()


def test_deep_files_are_no_trouble() -> None:
    deep = '{"type": "array", "items": ' * 600 + '"int"' + "}" * 600
    (one,) = contracts(a=deep).values()
    with pytest.raises(InvalidSchema):
        one.understood()
    assert parse('"int"').text == '"int"'


def test_comments_are_read_as_java_reads_them() -> None:
    (one,) = contracts(a=f"/* of the shop */ {record('x:int')} // end\n").values()
    assert one.understood().text == parse(record("x:int")).text
