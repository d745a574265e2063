"""The JSON of requests and answers. What is empty is left out of an answer, as Confluent's has it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from waybill_schema_registry.engine.associating import Association
from waybill_schema_registry.engine.engine import Listed
from waybill_schema_registry.entities import AVRO, Config, Metadata, Mode, Reference, RuleSet, Schema, Version
from waybill_schema_registry.errors import Invalid
from waybill_schema_registry.levels import Level

__all__ = [
    "CompatibilityAnswer",
    "ConfigAnswer",
    "ContextId",
    "ModeBody",
    "Registered",
    "SchemaBody",
    "SchemaEntity",
    "SchemaTags",
    "SubjectVersion",
    "config_of",
    "shaped",
    "shaped_by_id",
    "shaped_config",
    "shaped_in_list",
]


Int32 = msgspec.Meta(ge=-(2**31), le=2**31 - 1)


class SchemaBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is registered, looked up or checked. schema: empty for the latest text with other metadata or rules."""

    schema: str | None = None
    schema_type: str | None = None
    references: list[Reference] | None = None
    metadata: Metadata | None = None
    rule_set: RuleSet | None = None
    version: Annotated[int, Int32] | None = None
    id: Annotated[int, Int32] | None = None
    schema_tags_to_add: list[SchemaTags] | None = None
    schema_tags_to_remove: list[SchemaTags] | None = None
    propagate_schema_tags: bool | None = None

    def as_schema(self) -> Schema:
        return Schema(
            text=self.schema or "",
            format=self.schema_type or AVRO,
            references=tuple(self.references or ()),
            metadata=self.metadata,
            rules=self.rule_set,
        )


class SchemaEntity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A place in a schema that can have tags. entityType: `sr_record` or `sr_field`."""

    entity_path: str
    entity_type: str


class SchemaTags(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The tags of a place."""

    schema_entity: SchemaEntity
    tags: list[str] = []


class Registered(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A schema as answers have it."""

    subject: str | None = None
    version: int | None = None
    id: int | None = None
    guid: str | None = None
    schema_type: str | None = None
    references: list[Reference] | None = None
    metadata: Metadata | None = None
    rule_set: RuleSet | None = None
    schema: str | None = None
    schema_tags: list[SchemaTags] | None = None
    max_id: int | None = None
    ts: int | None = None
    deleted: bool | None = None
    aliases: list[str] | None = None
    associations: list[Association] | None = None


class SubjectVersion(msgspec.Struct, frozen=True):
    subject: str
    version: int


class ContextId(msgspec.Struct, frozen=True):
    context: str
    id: int


class CompatibilityAnswer(msgspec.Struct, frozen=True):
    """messages: only where they were asked for with `verbose=true`."""

    is_compatible: bool
    messages: list[str] | msgspec.UnsetType = msgspec.UNSET


class ModeBody(msgspec.Struct, frozen=True):
    mode: str

    def as_mode(self) -> Mode:
        try:
            return Mode(self.mode.strip().upper())
        except ValueError:
            known = ", ".join(mode.value for mode in Mode)
            raise Invalid(f"Invalid mode. Valid values are {known}", code=42204) from None


def config_of(members: dict[str, Any]) -> Config:
    """Settings as they are sent: the level in any case. Raises `Invalid` (42203), `msgspec.ValidationError`."""
    level = members.get("compatibility")
    given = {**members, "compatibility": level_of(level)} if isinstance(level, str) else members
    return msgspec.convert(given, Config)


def level_of(text: str) -> Level:
    try:
        return Level(text.strip().upper())
    except ValueError:
        known = ", ".join(level.lower() for level in Level)
        raise Invalid(f"Invalid compatibility level. Valid values are {known}", code=42203) from None


class ConfigAnswer(Config, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Settings as GET has them: `compatibilityLevel` instead of `compatibility`. PUT answers a `Config`."""

    compatibility_level: Level | None = None


def shaped_config(config: Config) -> ConfigAnswer:
    members = {**msgspec.structs.asdict(config), "compatibility": None}
    return ConfigAnswer(**members, compatibility_level=config.compatibility)


def shaped(version: Version, text: str | None = None, tags: list[SchemaTags] | None = None) -> Registered:
    """A version of a subject. text: in another form than it is kept."""
    return Registered(
        subject=version.subject,
        version=version.version,
        id=version.id,
        deleted=version.deleted or None,
        schema_tags=tags or None,
        **_common(version, text),
    )


def shaped_in_list(listed: Listed, associations: list[Association]) -> Registered:
    """With what is said of its subject beside it."""
    return msgspec.structs.replace(
        shaped(listed.version), aliases=list(listed.aliases) or None, associations=associations or None
    )


def shaped_by_id(
    version: Version, text: str | None = None, tags: list[SchemaTags] | None = None, max_id: int | None = None
) -> Registered:
    """What an id stands for: subject and version only where one asked for a subject."""
    return Registered(
        subject=version.subject or None,
        version=version.version or None,
        deleted=version.deleted or None,
        max_id=max_id,
        schema_tags=tags or None,
        **_common(version, text),
    )


def _common(version: Version, text: str | None) -> dict[str, Any]:
    schema = version.schema
    return {
        "guid": version.guid or None,
        "schema_type": schema.format,
        "references": list(schema.references) or None,
        "metadata": schema.metadata,
        "rule_set": schema.rules,
        "schema": schema.text if text is None else text,
        "ts": version.at or None,
    }
