"""Ours agrees with Avro Java wherever its answer is known. Each test looks at a whole file, and lists all that differs."""

from __future__ import annotations

import json
from typing import Any

from tests.registry.avro.reference import cases
from waybill_schema_registry.compatibility import check, check_level
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro import parse

ELSEWHERE = {
    # Ruby takes decimals of equal precision for equal, and unions by full names alone; PyPI's writes messages its own way.
    "test_fixed_decimal#4",
    "test_fixed_decimal#6",
    "test_decimal_different_types#2",
    "test_union_resolution_named_structure_match#1",
}
NO_SCHEMA = {
    "test_schemaregistry_basic_backwards_compatibility#8"
}  # an enum's default outside its symbols: Java reads none


def in_javas_words(message: str) -> str:
    """PyPI's `avro` names types in small letters, and symbols as a set of Python."""
    if message.startswith("reader type: "):
        first, second = message.removeprefix("reader type: ").split(" not compatible with writer type: ")
        return f"reader type: {first.upper()} not compatible with writer type: {second.upper()}"
    return f"[{message[1:-1].replace(chr(39), '')}]" if message.startswith("{'") else message


def test_what_random_pairs_come_to_is_what_java_says_word_for_word() -> None:
    differ: list[Any] = []
    for case in cases("fuzz"):
        report = check(case["reader"], case["writer"])
        ours = [(one.type, one.location, one.message) for one in report.incompatibilities]
        theirs = list(zip(case["types"], case["locations"], case["messages"], strict=True))
        if ours != theirs or report.compatible != (case["expected"] == "compatible"):
            differ.append((case["name"], ours, theirs))
    assert not differ


def test_what_other_projects_assert_holds_where_java_agrees() -> None:
    differ: list[Any] = []
    for case in cases("compat"):
        if case["name"] in NO_SCHEMA:
            continue
        report = check(case["reader"], case["writer"])
        found = report.incompatibilities
        expected = (case["expected"] == "compatible") != (case["name"] in ELSEWHERE)
        ours = ([one.type for one in found], [one.location for one in found], [one.message for one in found])
        theirs = (case["types"], case["locations"], [in_javas_words(message) for message in case["messages"]])
        unlike = any(said and sorted(said) != sorted(mine) for mine, said in zip(ours, theirs, strict=True))
        if report.compatible != expected or unlike:
            differ.append((case["source"], case["name"], ours, theirs))
    assert not differ


def test_what_java_cannot_read_is_no_schema() -> None:
    refused = []
    for case in cases("compat"):
        if case["name"] in NO_SCHEMA:
            try:
                check(case["reader"], case["writer"])
            except InvalidSchema:
                refused.append(case["name"])
    assert set(refused) == NO_SCHEMA


def test_levels_come_to_what_they_do_elsewhere() -> None:
    differ = [
        (case["name"], case["level"])
        for case in cases("levels")
        if check_level(case["level"], case["previous"], case["new"]).compatible != (case["expected"] == "compatible")
    ]
    assert not differ


def test_texts_canonical_forms_and_fingerprints_are_javas_byte_for_byte() -> None:
    differ: list[Any] = []
    for case in cases("tostring"):
        for given in (case["schema"], json.dumps(case["schema"], indent=2)):
            schema = parse(given, strict=True)
            ours = (schema.text, schema.canonical, f"{schema.fingerprint:x}")
            if ours != (case["java_tostring"], case["canonical"], case["crc64_hex"].lstrip("0")):
                differ.append((case["name"], ours))
    assert not differ


def test_the_published_canonical_forms_and_fingerprints_hold() -> None:
    differ: list[Any] = []
    for case in cases("canonical"):
        schema = parse(case["schema"])
        crc = case["crc64_java_long"]
        if schema.canonical != case["canonical"] or crc not in (None, schema.fingerprint, schema.fingerprint - 2**64):
            differ.append((case["name"], schema.canonical, schema.fingerprint))
    assert not differ
