"""What is refused when it is new, because decoders would die of it, and input of any size and depth."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from waybill_schema_registry.compatibility import check
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro import AvroFormat, Bounds, parse, traps
from waybill_schema_registry.formats.avro.bounds import depth_of
from waybill_schema_registry.formats.avro.schema import named_types

AVRO = AvroFormat()
EMPTY = {"type": "record", "name": "Empty", "fields": []}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def record(name: str, *kinds: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": f"f{at}", "type": kind} for at, kind in enumerate(kinds)],
    }


def nested(depth: int, inside: Any = "int") -> Any:
    for _ in range(depth):
        inside = array(inside)
    return inside


TRAPS: dict[str, Any] = {
    "an array of null": array("null"),
    "an array of Empty": array(EMPTY),
    "an array of Nothing": array({"type": "fixed", "name": "Nothing", "size": 0}),
    "an array of Hollow": record("R", {"type": "map", "values": array(record("Hollow", "null", EMPTY))}),
    "the record Node": record("Node", "int", "Node"),
    "the record A": record("A", record("B", "A")),
    "the record C": record("C", ["C"]),
    "1,001 named types": record("R", *[{"type": "fixed", "name": f"F{n}", "size": 1} for n in range(1_000)]),
    "65 types within one another": nested(64),
    "values of 3,": record("R", *[record(f"N{n}", nested(60, f"N{n - 1}" if n else "int")) for n in range(50)]),
}
HARMLESS: dict[str, Any] = {
    "a list of unions": array(["null"]),
    "a list": record("Node", array("Node"), ["null", "Node"], {"type": "map", "values": "Node"}),
    "1,000 types": record("R", *[{"type": "fixed", "name": f"F{n}", "size": 1} for n in range(999)]),
    "64 types": nested(63),
    "a map of nothing, whose keys take bytes": {"type": "map", "values": "null"},
}


def test_traps_are_refused_when_new_and_named_when_kept() -> None:
    missed: list[str] = []
    for words, schema in TRAPS.items():
        found = traps(parse(schema).root)
        with pytest.raises(InvalidSchema, match="trap"):
            AVRO.parse(json.dumps(schema), strict=True)
        assert AVRO.parse(json.dumps(schema), strict=False).text
        if not any(words in each for each in found):
            missed.append(f"{words}: {found}")
    assert not missed


def test_what_only_looks_like_a_trap_is_taken() -> None:
    wrong = {words: traps(parse(schema).root) for words, schema in HARMLESS.items()}
    assert not any(wrong.values()), wrong


def test_bounds_are_for_who_sets_them() -> None:
    strict = AvroFormat(bounds=Bounds(depth=2, size=200, types=1))
    strict.parse(json.dumps(nested(1)), strict=True)
    with pytest.raises(InvalidSchema, match="3 types within one another, more than 2"):
        strict.parse(json.dumps(nested(2)), strict=True)
    with pytest.raises(InvalidSchema, match="300 characters, and 200"):
        strict.parse('"int"'.ljust(300), strict=True)


def test_a_schema_of_ten_thousand_fields_is_taken() -> None:
    wide = {"type": "record", "name": "W", "fields": [{"name": f"f{n}", "type": "int"} for n in range(10_000)]}
    text = json.dumps(wide, separators=(",", ":"))
    schema = AvroFormat(bounds=Bounds(size=1 << 20)).parse(text, strict=True)
    assert schema.text == text
    found = check(wide, {**wide, "fields": []}).incompatibilities
    assert len(found) == 1_000
    with pytest.raises(InvalidSchema, match="are allowed"):
        AVRO.parse(text, strict=True)


def test_ten_megabytes_are_refused_and_more_is_not_even_read() -> None:
    text = json.dumps({"type": "string", "doc": "x" * 10_000_000})
    with pytest.raises(InvalidSchema, match="are allowed"):
        AVRO.parse(text, strict=True)
    with pytest.raises(InvalidSchema, match="no more than"):
        parse(" " * (17 << 20) + '"int"')


@pytest.mark.parametrize("depth", [300, 1_000, 100_000])
def test_no_depth_of_a_text_ends_the_process(depth: int) -> None:
    text = '{"type":"array","items":' * depth + '"int"' + "}" * depth
    with pytest.raises(InvalidSchema, match=r"within one another|too deeply|are allowed"):
        AVRO.parse(text, strict=True)
    unions = "[" * depth + '"int"' + "]" * depth
    with pytest.raises(InvalidSchema):
        AVRO.parse(unions, strict=True)


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {"type": "array"}
    endless["items"] = endless
    with pytest.raises(InvalidSchema, match="contains itself"):
        parse(endless)


def test_what_is_deep_and_kept_is_read_compared_and_written() -> None:
    one, other = nested(400), nested(400, "long")
    assert depth_of(parse(one).root) == 401
    [found] = check(one, other).incompatibilities
    assert found.location.count("/items") == 400
    assert check(other, one).compatible
    schema = parse(one)
    assert json.loads(schema.text) == json.loads(schema.canonical) == one
    assert AVRO.normalized(schema) == schema.text


def test_it_needs_little_of_the_stack() -> None:
    def below(frames: int) -> Any:
        return below(frames - 1) if frames else (check(nested(40), nested(40)), parse(nested(41)).text)

    assert below(sys.getrecursionlimit() - 250 - len_of_stack())[0].compatible


def len_of_stack() -> int:
    frame, count = sys._getframe(), 0
    while frame is not None:
        frame, count = frame.f_back, count + 1  # type: ignore[assignment]
    return count


def test_a_report_cannot_grow_beyond_all_bounds() -> None:
    """Each record has the next one twice, so what is wrong with the last one is met 2 ** 60 times."""

    def chain(last: str) -> dict[str, Any]:
        inside: Any = record("R0", last)
        for number in range(1, 25):
            inside = record(f"R{number}", inside, f"R{number - 1}")
        return inside

    assert len(check(chain("int"), chain("string")).incompatibilities) == 1_000
    assert check(chain("int"), chain("int")).compatible


def test_unions_of_records_of_unions_do_not_multiply() -> None:
    def tangle(last: str) -> list[Any]:
        names = [f"N{number}" for number in range(12)]
        first = [record(name, last) for name in names]
        for one in first:
            one["fields"].append({"name": "next", "type": ["null", *names]})
        return first

    assert not check(tangle("int"), tangle("string")).compatible
    assert check(tangle("long"), tangle("int")).compatible
    assert parse(tangle("int"), strict=True)


def test_any_input_is_a_schema_or_refused() -> None:
    odd: list[Any] = [
        "",
        " ",
        "\x00",
        "{}",
        "[]",
        "[[]]",
        "null",
        "true",
        "-1",
        '"',
        '"\\ud800"',
        "\ud800",
        {},
        [],
        None,
        1.5,
    ]
    odd += [
        {"type": None},
        {"type": []},
        {"type": "array", "items": None},
        {1: 2},
        {"type": "record", "name": 1, "fields": []},
    ]
    odd += [b"\xff", object(), {"type": "string", "x": object()}, {"type": "record", "name": "", "fields": []}]
    odd += ["9" * 5_000, '{"type":"string","x":' + "9" * 5_000 + "}", '{"type":"string","x":1e999}', "NaN"]
    told: list[str] = []
    for schema in odd:
        for strict in (True, False):
            try:
                parse(schema, strict=strict)
            except InvalidSchema as problem:
                told.append(str(problem))
    assert len(told) > len(odd)
    assert max(map(len, told)) < 500


def test_what_would_take_too_long_is_given_up() -> None:
    """A thousand records against a thousand, all of one name but for the namespace; a default of many items against many
    branches; one definition repeated many times that names a large one."""
    alike = [{**record("A", kind), "namespace": f"n{number}"} for number in range(990) for kind in ("int",)]
    other = [{**branch, "fields": [{"name": "g", "type": "long"}]} for branch in alike]
    [found] = check(alike, other).incompatibilities
    assert found.type == "TOO_MUCH_TO_COMPARE"
    wide = [{"type": "fixed", "name": f"F{number}", "size": 1} for number in range(900)]
    field = {"name": "f", "type": array([*wide, "int"]), "default": list(range(5_000))}
    with pytest.raises(InvalidSchema, match="too much to check"):
        parse({"type": "record", "name": "R", "fields": [field]}, strict=True)
    large = record("L", *[{"type": "fixed", "name": f"F{number}", "size": 1} for number in range(900)])
    again = [record("Small", "L")] * 2_000
    assert parse(record("R", large, *again), strict=True).root


def test_many_types_and_fields_are_read_in_a_time_that_grows_as_they_do() -> None:
    kinds = [{"type": "enum", "name": f"E{number}", "symbols": ["A"]} for number in range(30_000)]
    schema = parse(record("R", *kinds))
    assert len(named_types(schema.root)) == 30_001
    chain = record("R", *[record(f"N{n}", f"N{n + 1}") for n in range(5_000)], record("N5000", "null"))
    assert any("values of" in trap for trap in traps(parse(chain).root))
