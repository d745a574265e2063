"""What the registry keeps and answers with: schemas, versions, settings. Immutable; named as the REST API names them.

Fields in camelCase and without what is empty are what Confluent's API sends and takes, so these are its JSON as well
(`msgspec.json`). Unknown members are ignored, as clients newer than this need.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from waybill_schema_registry.levels import Level

__all__ = ["AVRO", "Config", "Metadata", "Mode", "Reference", "Rule", "RuleSet", "Schema", "Version"]

AVRO = "AVRO"
LATEST = -1


class Reference(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A schema that another one uses under a name. version: -1 is the latest when it is given, never when it is kept."""

    name: str
    subject: str
    version: int = LATEST


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is known about a schema beside its text. tags: from a path in the schema to its tags."""

    tags: dict[str, list[str]] = {}
    properties: dict[str, str] = {}
    sensitive: list[str] = []


class Rule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A rule of a data contract. It is kept and handed out; nothing here runs it."""

    name: str = ""
    doc: str = ""
    kind: str = ""
    mode: str = ""
    type: str = ""
    tags: list[str] = []
    params: dict[str, str] = {}
    expr: str = ""
    on_success: str = ""
    on_failure: str = ""
    disabled: bool = False


class RuleSet(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The rules of a schema, by when they run."""

    migration_rules: list[Rule] = []
    domain_rules: list[Rule] = []
    encoding_rules: list[Rule] = []
    enable_at: str = ""


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What is registered: a text in some format, with what it refers to and what is known about it."""

    text: str
    format: str = AVRO
    references: tuple[Reference, ...] = ()
    metadata: Metadata | None = None
    rules: RuleSet | None = None


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A schema as a version of a subject. at: milliseconds since 1970. deleted: softly, and may be had back or erased."""

    subject: str
    version: int
    id: int
    guid: str
    schema: Schema
    at: int = 0
    deleted: bool = False


class Mode(StrEnum):
    """What may be written. IMPORT: ids and versions are given, nothing is checked."""

    READWRITE = "READWRITE"
    READONLY = "READONLY"
    READONLY_OVERRIDE = "READONLY_OVERRIDE"
    IMPORT = "IMPORT"
    FORWARD = "FORWARD"


class Config(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The settings of a subject, a context or everything. None: what the wider scope says."""

    compatibility: Level | None = None
    alias: str | None = None
    alias_for_deks: str | None = None
    normalize: bool | None = None
    validate_fields: bool | None = None
    validate_new_schemas: bool | None = None
    validate_rules: bool | None = None
    compatibility_policy: str | None = None
    compatibility_group: str | None = None
    default_metadata: Metadata | None = None
    override_metadata: Metadata | None = None
    default_rule_set: RuleSet | None = None
    override_rule_set: RuleSet | None = None

    def over(self, wider: Config) -> Config:
        """These settings, and those of a wider scope where this one says nothing."""
        given: dict[str, Any] = {
            name: value for name, value in msgspec.structs.asdict(self).items() if value is not None
        }
        return msgspec.structs.replace(wider, **given)
