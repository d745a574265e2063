"""What a schema may say, and what is said to who gets it wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro import AvroFormat, AvroSchema, parse
from waybill_schema_registry.formats.avro.schema import (
    ABSENT,
    Array,
    Enum,
    Fixed,
    Primitive,
    Record,
    Union,
    named_types,
)


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def root(schema: Any, **options: Any) -> Any:
    return parse(schema, **options).root


def test_names_are_resolved_as_the_specification_has_it() -> None:
    inner = {"type": "enum", "name": "E", "symbols": ["A"], "aliases": ["Old", "x.Old"]}
    outer = root(record({"name": "e", "type": inner}, {"name": "again", "type": "E"}, namespace="a.b"))
    assert isinstance(outer, Record)
    enum = outer.by_name["e"].type
    assert isinstance(enum, Enum)
    assert (enum.fullname, enum.aliases) == ("a.b.E", ("a.b.Old", "x.Old"))
    assert outer.by_name["again"].type is enum
    dotted = root({"type": "fixed", "name": "a.b.F", "namespace": "ignored", "size": 2})
    assert isinstance(dotted, Fixed)
    assert (dotted.namespace, dotted.name, dotted.size) == ("a.b", "F", 2)


def test_a_record_that_contains_itself_is_one_node() -> None:
    node = root(record({"name": "next", "type": ["null", "R"], "default": None}))
    union = node.by_name["next"].type
    assert isinstance(union, Union)
    assert union.branches[1] is node
    assert named_types(node) == {"R": node}


def test_a_name_may_come_before_its_definition() -> None:
    fixed = {"type": "fixed", "name": "F", "size": 1}
    node = root(record({"name": "a", "type": ["null", "F"]}, {"name": "b", "type": fixed}))
    assert node.by_name["a"].type.branches[1] is node.by_name["b"].type


def test_properties_and_logical_types_are_kept_in_order() -> None:
    node = root({"type": "bytes", "logicalType": "decimal", "scale": 2, "precision": 8, "x": {"b": 1.0, "a": [True]}})
    assert isinstance(node, Primitive)
    assert node.logical == "decimal"
    assert list(node.properties) == ["logicalType", "scale", "precision", "x"]
    array = root({"type": "array", "items": "int", "name": "means nothing here"})
    assert isinstance(array, Array)
    assert not array.properties


def test_no_default_is_not_a_default_of_null() -> None:
    node = root(record({"name": "a", "type": "null"}, {"name": "b", "type": "null", "default": None}))
    assert node.by_name["a"].default is ABSENT
    assert node.by_name["b"].has_default


def test_a_text_and_its_value_are_the_same_schema() -> None:
    value = record(
        {"name": "f", "type": ["null", {"type": "map", "values": "long"}], "default": None, "doc": "é\u2028"}
    )
    texts = [json.dumps(value), json.dumps(value, indent=4), json.dumps(value, ensure_ascii=False)]
    assert {parse(text).text for text in texts} == {parse(value).text}
    commented = "// a comment\n" + json.dumps(value).replace('"fields":', '/* and "another" */ "fields":', 1)
    assert parse(commented).text == parse(value).text


def test_of_keys_that_stand_twice_the_last_counts() -> None:
    assert parse('{"type": "fixed", "name": "F", "size": 1, "size": 2}').text.endswith('"size":2}')
    assert parse('{"type":"record","name":"R","fields":[],"name":"S"}').text.startswith('{"type":"record","name":"S"')


def test_numbers_come_back_as_java_writes_them() -> None:
    numbers = {"1.0": "1.0", "1e7": "1.0E7", "123456789.5": "1.234567895E8", "0.0001": "1.0E-4", "-0.001": "-0.001"}
    numbers |= {
        "12345678901234567890123": "12345678901234567890123",
        "1E2": "100.0",
        "-0.0": "-0.0",
        "5e-324": "4.9E-324",
        "2e22": "2.0E22",
    }
    for given, written in numbers.items():
        text = parse(f'{{"type":"string","x":{given}}}').text
        assert text == f'{{"type":"string","x":{written}}}'
    nan = parse(record({"name": "f", "type": "double", "default": "NaN"}), strict=True)
    assert '"default":"NaN"' in nan.text
    assert parse(nan.text, strict=True).text == nan.text


def test_a_type_that_is_named_like_one_of_avros_is_written_in_full() -> None:
    fixed = {"type": "fixed", "name": "n.record", "size": 1}
    text = parse(record({"name": "a", "type": fixed}, {"name": "b", "type": "n.record"}, namespace="n")).text
    assert text.endswith(
        '{"name":"a","type":{"type":"fixed","name":"record","size":1}},{"name":"b","type":"n.record"}]}'
    )
    assert parse(text).text == text


def test_strings_are_escaped_as_jackson_does() -> None:
    doc = '"\\/\b\f\n\r\t\x00\x1f\x7f\u2028é😀</script>'
    text = parse({"type": "string", "x": doc}).text
    assert text == '{"type":"string","x":"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001F\x7f\u2028é😀</script>"}'
    assert json.loads(text)["x"] == doc


NO_SCHEMAS: dict[str, Any] = {
    "not JSON": "{",
    "JSON": '{"type": "int"} {}',
    "no schema": 5,
    "There is no type 'nothing.like.this'": "nothing.like.this",
    '"type"': {"name": "R"},
    "a name": {"type": {"type": "int"}},
    '"name"': {"type": "record", "fields": []},
    '"fields"': {"type": "record", "name": "R"},
    "list of fields": {"type": "record", "name": "R", "fields": {}},
    "no field": record("f"),
    'field needs a "name"': record({"type": "int"}),
    'needs a "type"': record({"name": "f"}),
    "twice": record({"name": "f", "type": "int"}, {"name": "f", "type": "int"}),
    "union": [["int"]],
    "not say which": ["int", {"type": "int", "logicalType": "date"}],
    '"symbols"': {"type": "enum", "name": "E"},
    "list of names": {"type": "enum", "name": "E", "symbols": [1]},
    "symbol": {"type": "enum", "name": "E", "symbols": ["A", "A"]},
    "none of its symbols": {"type": "enum", "name": "E", "symbols": ["A"], "default": "B"},
    '"size"': {"type": "fixed", "name": "F", "size": -1},
    "number of bytes": {"type": "fixed", "name": "F", "size": True},
    '"items"': {"type": "array"},
    '"values"': {"type": "map"},
    '"order"': record({"name": "f", "type": "int", "order": "upwards"}),
    '"aliases"': record(aliases="A"),
    "defined twice": record(
        {"name": "a", "type": {"type": "fixed", "name": "F", "size": 1}},
        {"name": "b", "type": {"type": "fixed", "name": "F", "size": 2}},
    ),
    "needs a namespace": {"type": "fixed", "name": "string", "size": 1},
}


def test_what_is_no_schema_is_refused_with_what_is_wrong() -> None:
    told: dict[str, str] = {}
    for words, schema in NO_SCHEMAS.items():
        for strict in (False, True):
            try:
                parse(schema, strict=strict)
                told[words] = "taken"
            except InvalidSchema as problem:
                if words not in str(problem):
                    told[words] = str(problem)
    assert not told


NOT_NEW: dict[str, Any] = {
    "is no name": record({"name": "a-b", "type": "int"}),
    "name in Avro": {"type": "fixed", "name": "../../etc/passwd", "size": 1},
    "The symbol": {"type": "enum", "name": "E", "symbols": ["A", "B C"]},
    "begin with no digit": {"type": "fixed", "name": "n.1", "size": 1},
    "The name": {"type": "record", "name": "R\u0000", "fields": []},
    "is no int": record({"name": "f", "type": "int", "default": "1"}),
    "is no null or string": record({"name": "f", "type": ["null", "string"], "default": 1}),
    "is no array": record({"name": "f", "type": {"type": "array", "items": "int"}, "default": [1, "2"]}),
    "is no long": record({"name": "f", "type": "long", "default": 2**63}),
    "is no boolean": record({"name": "f", "type": "boolean", "default": 0}),
    "is no record S": record(
        {"name": "f", "type": {"type": "record", "name": "S", "fields": [{"name": "g", "type": "int"}]}, "default": {}}
    ),
    "is no record R": record({"name": "f", "type": "R", "default": {}}),
    "is no double": record({"name": "f", "type": "double", "default": "wide"}),
}


def test_what_a_new_schema_may_not_say_is_read_where_it_is_kept() -> None:
    told: dict[str, str] = {}
    for words, schema in NOT_NEW.items():
        parse(schema)
        for _ in range(2):  # what was refused once is not taken later
            try:
                parse(schema, strict=True)
                told[words] = "taken"
            except InvalidSchema as problem:
                if words not in str(problem):
                    told[words] = str(problem)
    assert not told


def test_defaults_that_fit_are_taken() -> None:
    inner = {"type": "record", "name": "S", "fields": [{"name": "g", "type": "int", "default": 1}]}
    fields = [
        {"name": "a", "type": ["null", "string"], "default": None},
        {"name": "b", "type": ["null", "string"], "default": "any branch will do, since 1.12"},
        {"name": "c", "type": inner, "default": {}},
        {"name": "d", "type": "float", "default": 1},
        {"name": "e", "type": {"type": "map", "values": ["S", "null"]}, "default": {"x": None, "y": {"g": 2}}},
        {"name": "f", "type": {"type": "fixed", "name": "F", "size": 2}, "default": "ÿÿ"},
        {"name": "größe", "type": "int", "default": -(2**31)},
    ]
    assert parse(record(*fields), strict=True).root


def test_types_of_other_texts_stay_names_and_can_be_put_in() -> None:
    money = '{"type":"record","name":"Money","namespace":"a","fields":[{"name":"cents","type":"long"}]}'
    price = '{"type":"record","name":"Price","namespace":"a","fields":[{"name":"now","type":"Money"}]}'
    order = '{"type":"record","name":"Order","namespace":"a","fields":[{"name":"price","type":"Price"},{"name":"m","type":"a.Money"}]}'
    avro = AvroFormat()
    parsed = avro.parse(order, {"a.Money": money, "a.Price": price}, strict=True)
    assert parsed.text.count('"cents"') == 0
    resolved = avro.resolved(parsed)
    assert resolved.count('"cents"') == 1
    assert parse(resolved).canonical == parsed.canonical
    with pytest.raises(InvalidSchema, match=r"There is no type 'a\.Money'"):
        avro.parse(price)


def test_the_normal_form_is_one_for_all_that_mean_the_same() -> None:
    one = record(
        {
            "name": "f",
            "type": {"type": "bytes", "scale": 2, "logicalType": "decimal", "precision": 4},
            "b": 1,
            "a": {"d": 1, "c": 2},
        },
        aliases=["B", "A"],
        doc="",
    )
    other = record(
        {
            "a": {"c": 2, "d": 1},
            "name": "f",
            "b": 1,
            "type": {"type": "bytes", "precision": 4, "logicalType": "decimal", "scale": 2},
        },
        aliases=["A", "B"],
    )
    avro = AvroFormat()
    forms = {avro.normalized(avro.parse(json.dumps(schema))) for schema in (one, other)}
    [form] = forms
    assert form == (
        '{"type":"record","name":"R","fields":[{"name":"f","type":{"type":"bytes","logicalType":"decimal","precision":4,'
        '"scale":2},"a":{"c":2,"d":1},"b":1}],"aliases":["A","B"]}'
    )
    assert avro.normalized(avro.parse(form)) == form


def test_a_logical_type_goes_first_only_where_it_is_one() -> None:
    avro = AvroFormat()

    def form(text: str) -> str:
        return avro.normalized(avro.parse(text))

    assert form('{"type":"int","a":1,"logicalType":"date"}') == '{"type":"int","logicalType":"date","a":1}'
    assert form('{"type":"int","a":1,"logicalType":"mine"}') == '{"type":"int","a":1,"logicalType":"mine"}'
    assert form('{"type":"bytes","scale":0,"precision":2,"a":1,"logicalType":"decimal"}') == (
        '{"type":"bytes","logicalType":"decimal","precision":2,"a":1,"scale":0}'
    )


def test_fields_read_once_do_not_leak_into_other_schemas() -> None:
    """The same text of a field means another type in another namespace, and after another definition."""
    field = {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A"]}}
    uses = {"name": "u", "type": "E"}
    one = parse(record(field, uses, namespace="a")).root
    two = parse(record(field, uses, namespace="b")).root
    assert isinstance(one, Record)
    assert isinstance(two, Record)
    assert [each.fullname for each in (one.by_name["u"].type, two.by_name["u"].type)] == ["a.E", "b.E"]  # type: ignore[union-attr]
    other = {"name": "e", "type": {"type": "fixed", "name": "E", "size": 4}}
    three = parse(record(other, uses, namespace="a")).root
    assert isinstance(three, Record)
    assert isinstance(three.by_name["u"].type, Fixed)
    with pytest.raises(InvalidSchema, match="defined twice"):
        parse(record(field, {**other, "name": "f"}, namespace="a"))


def test_the_fields_at_the_top_are_known_by_name() -> None:
    avro = AvroFormat()
    assert set(avro.fields(parse(record({"name": "a", "type": "int"}, {"name": "b", "type": "R"})))) == {"a", "b"}
    assert not avro.fields(parse("int"))


def test_schemas_are_known_by_themselves() -> None:
    first, second = parse(record(x=1)), parse(record(x=2))
    assert isinstance(first, AvroSchema)
    assert first.serial != second.serial
    assert len({first, second}) == 2
