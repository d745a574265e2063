"""Subjects and their versions."""

from __future__ import annotations

import msgspec

from waybill_schema_registry.engine.failures import no_subject
from waybill_schema_registry.entities import AVRO, Schema, Version
from waybill_schema_registry.server.answers import Answer
from waybill_schema_registry.server.asking import Ask, qualified
from waybill_schema_registry.server.failures import Refused
from waybill_schema_registry.server.rights import Right
from waybill_schema_registry.server.shapes import Registered, SchemaBody, SchemaTags, shaped
from waybill_schema_registry.server.tags import found_tags, tagged

__all__ = [
    "delete_subject",
    "delete_version",
    "latest_with_metadata",
    "list_subjects",
    "list_versions",
    "look_up",
    "prefix_of",
    "referenced_by",
    "register",
    "tags_in",
    "text_in",
    "version_of_subject",
    "version_text",
]


async def list_subjects(ask: Ask) -> list[str]:
    prefix = prefix_of(ask)
    found = await ask.engine.subjects(prefix, deleted=ask.flag("deleted"), deleted_only=ask.flag("deletedOnly"))
    return [subject for subject in found if ask.may_read(subject)][ask.page()]


def prefix_of(ask: Ask) -> str:
    """What subjects are listed: `subjectPrefix`, also spelt `subject`; in the context of the path, else in all."""
    given = ask.text("subjectPrefix")
    if given is None:
        given = ask.text("subject")
    if given is None:
        return ask.context or ":*:"
    return qualified(given, ask.context)


async def look_up(ask: Ask) -> Registered:
    schema = ask.read(SchemaBody).as_schema()
    found = await ask.engine.lookup(ask.subject, schema, normalize=ask.normalize, deleted=ask.flag("deleted"))
    _demand_found(ask, found)
    return shaped(found, await text_in(ask, found))


async def register(ask: Ask) -> Registered:
    body = ask.read(SchemaBody)
    force = ask.flag("force")
    given = body.id if body.id is not None and body.id >= 0 else None
    if force or given is not None:
        ask.demand(Right.ADMIN)
    schema = await _tagged(ask, body)
    ask.demand_references(schema, ask.subject)
    made = await ask.engine.register(
        ask.subject,
        schema,
        normalize=ask.normalize,
        version=body.version or 0,
        id=given,
        force=force,
    )
    return shaped(made, await text_in(ask, made))


async def delete_subject(ask: Ask) -> list[int]:
    return await ask.engine.delete_subject(ask.subject, permanent=_permanently(ask))


async def latest_with_metadata(ask: Ask) -> Registered:
    keys, values = ask.texts("key"), ask.texts("value")
    if len(keys) != len(values):
        raise Refused(400, "Each key needs a value: give the parameters key and value equally often")
    pairs = dict(zip(keys, values, strict=True))
    found = await ask.engine.latest_with_metadata(ask.subject, pairs, deleted=ask.flag("deleted"))
    return shaped(found, await text_in(ask, found))


async def list_versions(ask: Ask) -> list[int]:
    found = await ask.engine.versions(ask.subject, deleted=ask.flag("deleted"), deleted_only=ask.flag("deletedOnly"))
    negative = ask.flag("deletedAsNegative")
    return [-one.version if negative and one.deleted else one.version for one in found][ask.page()]


async def version_of_subject(ask: Ask) -> Registered:
    found = await _version(ask)
    return shaped(found, await text_in(ask, found), tags_in(ask, found))


async def version_text(ask: Ask) -> Answer:
    found = await _version(ask)
    return Answer(200, (await text_in(ask, found)).encode())


async def referenced_by(ask: Ask) -> list[int]:
    _demand_found(ask, await ask.engine.version(ask.subject, ask.version, deleted=True))
    return (await ask.engine.referenced_by(ask.subject, ask.version, deleted=ask.flag("deleted")))[ask.page()]


async def delete_version(ask: Ask) -> int:
    return await ask.engine.delete_version(ask.subject, ask.version, permanent=_permanently(ask))


async def _version(ask: Ask) -> Version:
    found = await ask.engine.version(ask.subject, ask.version, deleted=ask.flag("deleted"))
    _demand_found(ask, found)
    return found


def _demand_found(ask: Ask, found: Version) -> None:
    """A name without a context is searched in all of them: what may not be read there is as if it were not there."""
    if not ask.may_read(found.subject):
        raise no_subject(ask.subject)


async def text_in(ask: Ask, version: Version) -> str:
    """The schema in the form that `format` asks for. A form that is not known is ignored, as Confluent does."""
    if ask.text("format") == "resolved" and version.schema.references:
        return await ask.engine.resolved(version)
    return version.schema.text


def tags_in(ask: Ask, version: Version) -> list[SchemaTags] | None:
    """What `findTags` asks for."""
    wanted = ask.texts("findTags")
    return found_tags(version.schema.text, wanted) if wanted and version.schema.format == AVRO else None


async def _tagged(ask: Ask, body: SchemaBody) -> Schema:
    """What is to be registered, with the tags that are to be added and removed; an empty text is the latest one's."""
    schema = body.as_schema()
    add, remove = body.schema_tags_to_add or (), body.schema_tags_to_remove or ()
    if not (add or remove):
        return schema
    text = schema.text or await _latest_text(ask)
    try:
        return msgspec.structs.replace(schema, text=tagged(text, add, remove))
    except (ValueError, AttributeError, RecursionError):  # no Avro at all: the engine says what it is
        return schema


async def _latest_text(ask: Ask) -> str:
    found = await ask.engine.version(ask.subject, "latest")
    _demand_found(ask, found)
    return found.schema.text


def _permanently(ask: Ask) -> bool:
    permanent = ask.flag("permanent")
    if permanent:
        ask.demand(Right.ADMIN)
    return permanent
