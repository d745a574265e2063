"""GUIDs are Confluent's own."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from waybill_schema_registry.engine.guid import guid_of
from waybill_schema_registry.entities import Metadata, Reference, Rule, RuleSet, Schema

GOLDEN = Path(__file__).with_name("guids.jsonl")


def test_the_golden_values_of_confluent() -> None:
    wrong = []
    for line in GOLDEN.read_text().splitlines():
        case = json.loads(line)
        schema = Schema(
            text=case["schema"],
            format=case["schemaType"],
            references=tuple(msgspec.convert(case["references"] or [], list[Reference])),
            metadata=msgspec.convert(case["metadata"], Metadata | None),
        )
        if guid_of(schema) != case["guid"]:
            wrong.append(case["name"])
    assert wrong == []


def test_what_is_not_ordered_does_not_count_by_its_order() -> None:
    one = Metadata(tags={"a": ["x", "y"], "b": ["z"]}, properties={"k": "1", "l": "2"}, sensitive=["k", "l"])
    other = Metadata(tags={"b": ["z"], "a": ["y", "x"]}, properties={"l": "2", "k": "1"}, sensitive=["l", "k"])
    assert guid_of(Schema(text="t", metadata=one)) == guid_of(Schema(text="t", metadata=other))


def test_every_part_counts() -> None:
    rule = Rule(name="r", type="CEL")
    variants = [
        Schema(text="t"),
        Schema(text="u"),
        Schema(text="t", references=(Reference(name="n", subject="s", version=1),)),
        Schema(text="t", references=(Reference(name="n", subject="s", version=2),)),
        Schema(text="t", metadata=Metadata()),
        Schema(text="t", metadata=Metadata(properties={"k": "v"})),
        Schema(text="t", rules=RuleSet(domain_rules=[rule])),
        Schema(text="t", rules=RuleSet(domain_rules=[msgspec.structs.replace(rule, disabled=True)])),
        Schema(text="t", rules=RuleSet(domain_rules=[msgspec.structs.replace(rule, params={"a": "b"})])),
        Schema(text="t", rules=RuleSet(domain_rules=[rule], enable_at="1")),
    ]
    assert len({guid_of(schema) for schema in variants}) == len(variants)


def test_a_rule_that_does_not_say_its_kind_and_mode_has_the_usual_ones() -> None:
    plain = Schema(text="t", rules=RuleSet(domain_rules=[Rule(name="r", type="CEL")]))
    said = Schema(
        text="t", rules=RuleSet(domain_rules=[Rule(name="r", type="CEL", kind="TRANSFORM", mode="WRITEREAD")])
    )
    assert guid_of(plain) == guid_of(said)
