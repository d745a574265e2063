"""What the REST API sends and takes, where that is not what `entities` has."""

from __future__ import annotations

from typing import Any

import msgspec

from waybill_schema_registry.entities import AVRO, Config, Metadata, Mode, Reference, RuleSet, Schema, Version
from waybill_schema_registry.levels import Level

__all__ = ["Compatible", "ModeOf", "Registered", "SchemaOf", "Settings", "asked"]


class SchemaOf(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A schema, by its id or as a version. What old servers leave out has a default."""

    schema: str
    schema_type: str | None = None
    references: tuple[Reference, ...] | None = None
    metadata: Metadata | None = None
    rule_set: RuleSet | None = None
    subject: str = ""
    version: int = 0
    id: int = 0
    guid: str | None = None
    ts: int | None = None
    deleted: bool | None = None

    def entity(self) -> Schema:
        return Schema(
            text=self.schema,
            format=self.schema_type or AVRO,
            references=self.references or (),
            metadata=self.metadata,
            rules=self.rule_set,
        )

    def as_version(self, subject: str) -> Version:
        return Version(
            subject=self.subject or subject,
            version=self.version,
            id=self.id,
            guid=self.guid or "",
            schema=self.entity(),
            at=self.ts or 0,
            deleted=bool(self.deleted),
        )


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of registering. Old servers say no more than the id."""

    id: int
    version: int | None = None
    guid: str | None = None
    ts: int | None = None


class Compatible(msgspec.Struct, frozen=True, kw_only=True):
    is_compatible: bool
    messages: tuple[str, ...] = ()


class Settings(Config, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Settings as GET names them; PUT calls the level `compatibility`."""

    compatibility_level: Level | None = None

    def entity(self) -> Config:
        config = msgspec.convert(msgspec.to_builtins(self), Config)
        return msgspec.structs.replace(config, compatibility=self.compatibility_level or self.compatibility)


class ModeOf(msgspec.Struct, frozen=True, kw_only=True):
    mode: Mode


def asked(schema: Schema) -> dict[str, Any]:
    """A schema as a request has it."""
    optional = {"references": schema.references, "metadata": schema.metadata, "ruleSet": schema.rules}
    return {"schema": schema.text, "schemaType": schema.format} | {name: v for name, v in optional.items() if v}
