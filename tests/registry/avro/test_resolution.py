"""Who can read whom, what is said about it, and that it is true: what is called compatible is decoded."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_many
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.registry.schemas import pairs, records, schemas
from waybill_schema_registry.compatibility import LevelReport, check, check_level, check_parsed
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro import AvroFormat, parse
from waybill_schema_registry.formats.avro.parsing import READ
from waybill_schema_registry.formats.avro.stock import STOCK
from waybill_schema_registry.formats.format import Difference
from waybill_schema_registry.levels import Level

often = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def only(reader: Any, writer: Any) -> Difference:
    [found] = check(reader, writer).incompatibilities
    return found


def test_a_difference_says_where_in_both_and_what_to_do() -> None:
    item = record(field("sku", "string"), field("count", "int"), name="Item")
    wide = record(field("sku", "string"), field("count", "long"), name="Item")
    reader = record(field("id", "long"), field("items", {"type": "array", "items": item}))
    writer = record(field("items", {"type": "array", "items": wide}), field("id", "long"))
    found = only(reader, writer)
    assert (found.type, found.location) == ("TYPE_MISMATCH", "/fields/1/type/items/fields/1/type")
    assert found.writer_location == "/fields/0/type/items/fields/1/type"
    assert found.message == "reader type: INT not compatible with writer type: LONG"
    assert (found.reader_fragment, found.writer_fragment) == ("int", "long")
    assert "widen" in found.advice


def test_a_new_field_needs_a_default_and_the_advice_says_so() -> None:
    new = field("vat", "int")
    found = only(record(new), record())
    assert (found.type, found.location, found.message) == ("READER_FIELD_MISSING_DEFAULT_VALUE", "/fields/0", "vat")
    assert (found.writer_location, found.reader_fragment) == ("/", new)
    assert "field vat" in found.advice
    assert '"default": null' in found.advice
    assert check(record(field("vat", ["null", "int"], default=None)), record()).compatible
    assert check(record(field("vat", "int", aliases=["tax"])), record(field("tax", "int"))).compatible


def test_symbols_sizes_names_and_branches_are_told_in_javas_words() -> None:
    def enum(*symbols: str, **more: Any) -> dict[str, Any]:
        return {"type": "enum", "name": "E", "symbols": list(symbols), **more}

    missing = only(enum("B"), enum("C", "B", "A"))
    assert (missing.location, missing.message) == ("/symbols", "[A, C]")
    assert "C, A" in missing.advice
    assert check(enum("B", default="B"), enum("A")).compatible
    sizes = only({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 8})
    assert (sizes.location, sizes.writer_location, sizes.message) == ("/size", "/size", "expected: 8, found: 4")
    names = only(record(), record(name="S", namespace="n"))
    assert (names.location, names.message) == ("/name", "expected: n.S")
    assert '"aliases": ["n.S"]' in names.advice
    branch = only(["int", "null"], ["null", "string"])
    assert (branch.location, branch.writer_location) == ("/1", "/1")
    assert branch.message == "reader union lacking writer type: STRING"
    inner = only(record(field("f", "int")), record(field("f", ["int", "string"])))
    assert (inner.location, inner.message) == (
        "/fields/0/type/1",
        "reader type: INT not compatible with writer type: STRING",
    )


def test_names_agree_by_their_last_part_or_by_an_alias() -> None:
    assert check(record(namespace="a"), record(namespace="b")).compatible
    assert check(record(namespace="a", aliases=["S"]), record(name="S", namespace="a")).compatible
    assert not check(record(namespace="a", aliases=["S"]), record(name="S")).compatible
    assert not check(record(), record(name="S", aliases=["R"])).compatible
    outside = record(namespace="a", aliases=[".S"])  # Java writes this alias ".S", and no name is that
    assert not check(outside, record(name="S")).compatible


def test_a_field_that_fits_two_of_the_writer_is_ambiguous() -> None:
    reader = record(field("a", "int", aliases=["b"]))
    writer = record(field("a", "int"), field("b", "int"))
    found = only(reader, writer)
    assert found.type == "AMBIGUOUS_ALIAS"
    assert found.message.startswith(
        "Reader record field a type:INT pos:0 matches multiple fields in writer record schema {"
    )
    assert "take out aliases" in found.advice
    itself = record(field("a", "int"), field("b", "int", aliases=["a"]))
    assert not check(itself, itself).compatible


def test_an_enums_default_is_no_default_of_a_field() -> None:
    enum = {"type": "enum", "name": "E", "symbols": ["A"], "default": "A"}
    found = only(record(field("e", enum)), record())
    assert (found.type, found.location) == ("TYPE_MISMATCH", "/fields/0/type")
    assert found.message == "reader type: ENUM not compatible with writer type: RECORD"
    assert "Give the field e of the reader a default" in found.advice


def test_what_was_found_of_a_pair_stands_wherever_it_is_met() -> None:
    one, other = record(field("x", "int"), name="P"), record(field("x", "string"), name="P")
    reader = record(field("a", one), field("b", "P"))
    writer = record(field("a", other), field("b", "P"))
    assert [found.location for found in check(reader, writer).incompatibilities] == ["/fields/0/type/fields/0/type"] * 2


def test_recursion_ends_and_finds_what_is_wrong_below() -> None:
    def tree(kind: str) -> dict[str, Any]:
        return record(
            field("value", kind), field("left", ["null", "R"]), field("right", {"type": "array", "items": "R"})
        )

    assert check(tree("long"), tree("int")).compatible
    assert only(tree("int"), tree("long")).location == "/fields/0/type"


def test_texts_are_taken_too_and_nonsense_is_refused() -> None:
    assert check('"long"', '{"type": "int"}').compatible
    with pytest.raises(InvalidSchema):
        check("int", "no.such.Type")


def versions() -> list[Any]:
    return [record(field("a", "int")), record(field("a", "long")), record(field("a", "long"), field("b", "int"))]


def failed(report: LevelReport) -> list[tuple[int, str]]:
    return [(step.version, step.direction) for step in report.steps]


def test_levels_look_back_as_far_as_they_say_newest_first() -> None:
    new = record(field("a", "long"), field("b", "int", default=0))
    assert check_level("BACKWARD_TRANSITIVE", versions(), new).compatible
    assert check_level(Level.FORWARD, versions(), new).compatible
    assert failed(check_level("FORWARD_TRANSITIVE", versions(), new)) == [(0, "forward")]
    narrow = record(field("a", "int"), field("c", "int"))
    assert failed(check_level("full", versions(), narrow)) == [(2, "forward"), (2, "backward")]
    assert failed(check_level("FULL_TRANSITIVE", versions()[:2], narrow)) == [(1, "backward")]
    assert check_level("NONE", versions(), "string").compatible
    assert check_level("FULL_TRANSITIVE", [], "string").compatible
    with pytest.raises(ValueError, match="SIDEWAYS"):
        check_level("SIDEWAYS", [], "string")


def test_parsed_schemas_are_compared_as_their_texts_are() -> None:
    avro = AvroFormat()
    history = [avro.parse(json.dumps(version)) for version in versions()]
    new = avro.parse(json.dumps(record(field("a", "int"))))
    for _ in range(2):
        report = check_parsed(Level.BACKWARD_TRANSITIVE, history, new, avro)
        assert failed(report) == failed(check_level("BACKWARD_TRANSITIVE", versions(), record(field("a", "int"))))


@often
@given(pairs())
def test_what_is_kept_from_before_changes_no_answer(pair: tuple[Any, Any]) -> None:
    warm = answer(*pair)
    STOCK.clear()
    READ.clear()
    assert answer(*pair) == warm
    assert answer(*(json.dumps(each, indent=1) for each in pair)) == warm


def answer(reader: Any, writer: Any) -> Any:
    try:
        return [(one.type, one.location, one.message) for one in check(reader, writer).incompatibilities]
    except InvalidSchema as problem:
        return str(problem)


@often
@given(schemas())
def test_a_text_is_its_own_text_and_means_the_same(schema: Any) -> None:
    parsed = parse(schema, strict=True)
    again = parse(parsed.text, strict=True)
    assert again.text == parsed.text
    assert again.canonical == parsed.canonical
    avro = AvroFormat()
    form = avro.normalized(parsed)
    assert avro.normalized(parse(form)) == form
    assert parse(form).canonical == parsed.canonical


@often
@given(schemas(namespaces=("n", "n.m")))
def test_a_canonical_form_is_its_own(schema: Any) -> None:
    """As long as no type without a namespace stands in one that has one: the form of the specification loses that."""
    canonical = parse(schema).canonical
    assert parse(canonical).canonical == canonical


@often
@given(st.one_of(schemas(namespaces=("",)), schemas(namespaces=("n", "n.m"))))
def test_the_canonical_form_is_that_of_fastavro(schema: Any) -> None:
    """Java finds a type without a namespace also from inside of one; fastavro does not."""
    assert parse(schema).canonical == fastavro.schema.to_parsing_canonical_form(schema)


@often
@given(records(namespaces=("n",)))
def test_a_schema_reads_itself_unless_its_aliases_are_ambiguous(schema: Any) -> None:
    assert {found.type for found in check(schema, schema).incompatibilities} <= {"AMBIGUOUS_ALIAS"}


@often
@given(pairs(records(namespaces=("",))))
def test_what_is_compatible_is_decoded(pair: tuple[Any, Any]) -> None:
    """For the data that can be made up of the writer's schema. Java lets a name be like another by its last part alone, so
    nothing has a namespace here; aliases of types are not fastavro's, nor are names before their definition."""
    reader, writer = (json.loads(json.dumps(each).replace('"logicalType"', '"was"')) for each in pair)
    if "aliases" in json.dumps(pair) or not compatible(reader, writer):
        return
    body = io.BytesIO()
    unlike = (
        RecursionError,
        UnicodeDecodeError,
        fastavro.schema.UnknownType,
    )  # data without end; bytes that are no text
    with contextlib.suppress(*unlike):
        fastavro.schemaless_writer(body, writer, next(generate_many(fastavro.parse_schema(writer), 1)))
        body.seek(0)
        fastavro.schemaless_reader(body, writer, reader)
        assert not body.read()


def compatible(reader: Any, writer: Any) -> bool:
    try:
        return check(reader, writer).compatible
    except InvalidSchema:
        return False
