"""The GUID of a schema: the MD5 of all that it is made of, as Confluent's `Schema.updateHash` takes it.

Text, then each reference's name, subject and version (32 bits, big-endian), then metadata, then rules, the latter two each
behind a byte 1 if they are there. Sets and maps go in by sorted key.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5

from waybill_schema_registry.entities import Metadata, Rule, RuleSet, Schema

__all__ = ["guid_of"]

THERE = b"\x01"


def guid_of(schema: Schema) -> str:
    """For example `d629bb05-ad85-3d20-fbcb-895de3c459f7`."""
    digest = md5(schema.text.encode(), usedforsecurity=False)
    for part in around(schema):
        digest.update(part)
    found = digest.hexdigest()
    return f"{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:]}"


def around(schema: Schema) -> Iterator[bytes]:
    for reference in schema.references:
        yield f"{reference.name}{reference.subject}".encode()
        yield reference.version.to_bytes(4, "big", signed=True)
    if schema.metadata is not None:
        yield THERE
        yield "".join(metadata_parts(schema.metadata)).encode()
    if schema.rules is not None:
        yield THERE
        yield from rule_set_parts(schema.rules)


def metadata_parts(metadata: Metadata) -> Iterator[str]:
    for path, tags in sorted(metadata.tags.items()):
        yield path
        yield from sorted(set(tags))
    for key, value in sorted(metadata.properties.items()):
        yield key + value
    yield from sorted(set(metadata.sensitive))


def rule_set_parts(rules: RuleSet) -> Iterator[bytes]:
    for rule in (*rules.migration_rules, *rules.domain_rules, *rules.encoding_rules):
        yield "".join(rule_parts(rule)).encode()
        if rule.disabled:
            yield THERE
    yield rules.enable_at.encode()


def rule_parts(rule: Rule) -> Iterator[str]:
    yield rule.name + rule.doc + (rule.kind or "TRANSFORM") + (rule.mode or "WRITEREAD") + rule.type
    yield from sorted(set(rule.tags))
    for key, value in sorted(rule.params.items()):
        yield key + value
    yield rule.expr + rule.on_success + rule.on_failure
