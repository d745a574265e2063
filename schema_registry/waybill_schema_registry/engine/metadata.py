"""How metadata and rules of a schema, of the version before it and of the config go together; which rules are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from waybill_schema_registry.engine.failures import invalid_rules
from waybill_schema_registry.entities import Config, Metadata, Rule, RuleSet, Schema

__all__ = ["CONFLUENT_VERSION", "confluent_version", "merged_metadata", "merged_rules", "populated", "validate_rules"]

CONFLUENT_VERSION = "confluent:version"
MODES = {
    "migration": ("UPGRADE", "DOWNGRADE", "UPDOWN"),
    "domain": ("WRITE", "READ", "WRITEREAD"),
    "encoding": ("WRITE", "READ", "WRITEREAD"),
}

Value = TypeVar("Value")


def confluent_version(metadata: Metadata | None) -> str | None:
    return None if metadata is None else metadata.properties.get(CONFLUENT_VERSION)


def populated(config: Config, schema: Schema, previous: Schema | None, *, number: int, asked: bool = False) -> Schema:
    """A schema with what it does not say itself: of the version before it, within the config's defaults and overrides.

    number: the version it gets, put into its metadata where that was asked for, or where there is one already; 0: none.
    """
    given = schema.metadata or (previous.metadata if previous else None)
    metadata = merged_metadata(merged_metadata(config.default_metadata, given), config.override_metadata)
    if number and (asked or confluent_version(metadata) is not None):
        metadata = numbered(metadata, number)
    rules = schema.rules or (previous.rules if previous else None)
    rules = merged_rules(merged_rules(config.default_rule_set, rules), config.override_rule_set)
    return msgspec.structs.replace(schema, metadata=metadata, rules=rules)


def numbered(metadata: Metadata | None, number: int) -> Metadata:
    said = Metadata(properties={CONFLUENT_VERSION: str(number)})
    return merged_metadata(metadata, said) or said


def merged_metadata(old: Metadata | None, new: Metadata | None) -> Metadata | None:
    """Key by key; the new one wins."""
    if old is None or new is None:
        return new or old
    return Metadata(
        tags=sorted_keys(old.tags, new.tags),
        properties=sorted_keys(old.properties, new.properties),
        sensitive=sorted({*old.sensitive, *new.sensitive}),
    )


def sorted_keys(old: Mapping[str, Value], new: Mapping[str, Value]) -> dict[str, Value]:
    return dict(sorted({**old, **new}.items()))


def merged_rules(old: RuleSet | None, new: RuleSet | None) -> RuleSet | None:
    """Rule by rule, known by their names; the new one wins, and stands behind the old ones."""
    if old is None or new is None:
        return new or old
    return RuleSet(
        migration_rules=after(old.migration_rules, new.migration_rules),
        domain_rules=after(old.domain_rules, new.domain_rules),
        encoding_rules=after(old.encoding_rules, new.encoding_rules),
        enable_at=new.enable_at or old.enable_at,
    )


def after(old: Sequence[Rule], new: Sequence[Rule]) -> list[Rule]:
    names = {rule.name for rule in new}
    return [*(rule for rule in old if rule.name not in names), *new]


def validate_rules(rules: RuleSet | None) -> None:
    """Raises `Invalid` (42210)."""
    if rules is None:
        return
    for kind, some in (
        ("migration", rules.migration_rules),
        ("domain", rules.domain_rules),
        ("encoding", rules.encoding_rules),
    ):
        names: set[str] = set()
        for rule in some:
            if rule.name in names:
                raise invalid_rules(f"Found rule with duplicate name '{rule.name}'")
            names.add(rule.name)
            validate_rule(kind, rule)


def validate_rule(kind: str, rule: Rule) -> None:
    if not rule.name:
        raise invalid_rules("Empty rule name")
    if not (rule.name[0].isalpha() or rule.name[0] == "_"):
        raise invalid_rules(f"Illegal initial character in rule name: {rule.name}")
    if not all(letter.isalnum() or letter in "_-" for letter in rule.name):
        raise invalid_rules(f"Illegal character in rule name: {rule.name}")
    if not rule.type:
        raise invalid_rules("Missing rule type")
    if (rule.mode or "WRITEREAD") not in MODES[kind]:
        modes = ", ".join(MODES[kind])
        raise invalid_rules(f"{kind.capitalize()} rules can only be {modes}")
