"""A schema becomes a version of a subject, or is found to be one (`KafkaSchemaRegistry.register`)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from waybill_schema_registry.engine.catalog import Subject
from waybill_schema_registry.engine.checking import check
from waybill_schema_registry.engine.failures import (
    different_content,
    incompatible,
    not_permitted,
    referenced,
    too_large,
)
from waybill_schema_registry.engine.finding import find, same
from waybill_schema_registry.engine.limits import LARGEST_ID
from waybill_schema_registry.engine.metadata import populated, validate_rules
from waybill_schema_registry.engine.referring import referrers
from waybill_schema_registry.engine.scopes import mode_in_scope
from waybill_schema_registry.engine.subjects import CONTROL, DEFAULT, Name, checked, split
from waybill_schema_registry.engine.view import Understood, View
from waybill_schema_registry.entities import Mode, Schema, Version
from waybill_schema_registry.errors import Invalid, InvalidSchema
from waybill_schema_registry.stores.store import (
    Change,
    RecordSet,
    SchemaAdded,
    SchemaErased,
    VersionErased,
    VersionSet,
)

__all__ = ["Registration", "already", "register", "validate"]

UNCHECKED = (Mode.IMPORT, Mode.FORWARD)


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. id: -1 for one that is yet to be given. at: milliseconds since 1970."""

    subject: str
    schema: Schema
    normalize: bool | None = None
    version: int = 0
    id: int = -1
    force: bool = False
    at: int = 0


def validate(view: View, asked: Registration) -> None:
    """What needs no look at what is there. Raises `Invalid`, `InvalidSchema`."""
    checked(asked.subject, longest=view.limits.subject)
    validate_rules(asked.schema.rules)
    if any(CONTROL.search(reference.name) for reference in asked.schema.references):
        raise InvalidSchema("The name of a reference has control characters: leave them out")
    size = len(asked.schema.text.encode(errors="replace"))
    if size > view.limits.schema:
        raise too_large(size, view.limits.schema)
    if asked.id > LARGEST_ID or asked.version > LARGEST_ID:
        raise Invalid(f"Ids and versions are at most {LARGEST_ID}", code=42207)


def already(view: View, asked: Registration) -> Version | None:
    """The version that this registration would come to, if nothing is to be written for it. Raises `Invalid` where it may
    not even be asked for, `InvalidSchema`, `Needed`."""
    validate(view, asked)
    name = split(asked.subject)
    config = view.config(name)
    decorated = (
        config.default_metadata or config.override_metadata or config.default_rule_set or config.override_rule_set
    )
    if asked.version or decorated:
        return None
    found = find(view, name, asked.schema, normalize=normalizing(view, name, asked))
    return found if found and asked.id in (-1, found.id) else None


def normalizing(view: View, name: Name, asked: Registration) -> bool:
    return bool(asked.normalize or view.config(name).normalize)


def register(view: View, asked: Registration) -> tuple[Sequence[Change], Version]:
    """Raises `Incompatible`, `InvalidSchema`, `Invalid`, `Needed`."""
    known = already(view, asked)
    if known is not None:
        return (), known
    name = split(asked.subject)
    mode = mode_in_scope(view.catalog, name)
    permit(name, mode, asked)
    subject = view.subject(name) or Subject(name.context, name.subject, {})
    number = subject.next
    schema = asked.schema if mode in UNCHECKED else completed(view, asked, subject, number)
    if not schema.text.strip():
        raise InvalidSchema("Empty schema")
    fresh = asked.id < 0
    strict = fresh and view.config(name).validate_new_schemas is not False
    new = view.understood(name, schema, normalize=normalizing(view, name, asked), strict=strict, fresh=fresh)
    if not asked.version:
        found = same(view, subject, new)
        if found is not None and asked.id in (-1, found.id):
            return (), view.version(found)
    if mode not in UNCHECKED and not asked.force:
        verdict = check(view, new, subject.live(), view.config(name))
        if not verdict.compatible:
            raise incompatible(name.qualified, verdict.messages, verdict.report)
    return written(view, asked, subject, new, place(view, asked, name, mode, number))


def permit(name: Name, mode: Mode, asked: Registration) -> None:
    if mode in (Mode.READONLY, Mode.READONLY_OVERRIDE):
        raise not_permitted(name, "in read-only")
    if asked.id >= 0:
        if mode not in UNCHECKED:
            raise not_permitted(name, "not in import")
    elif mode is not Mode.READWRITE:
        raise not_permitted(name, "not in read-write")


def completed(view: View, asked: Registration, subject: Subject, number: int) -> Schema:
    """What was not given is that of the latest version, and as the config says."""
    latest = subject.latest
    previous = view.text(latest.context, latest.id) if latest else None
    schema = asked.schema
    if previous is not None and not schema.text.strip():
        schema = msgspec.structs.replace(
            schema, text=previous.text, format=previous.format, references=previous.references
        )
    config = view.config(Name(subject.context, subject.name))
    return populated(config, schema, previous, number=number, asked=asked.version != 0)


def place(view: View, asked: Registration, name: Name, mode: Mode, number: int) -> int:
    """The number of the new version."""
    if asked.version <= 0:
        wanted = number
    elif asked.version == number or mode in UNCHECKED:
        wanted = asked.version
    else:
        raise InvalidSchema("Version is not one more than previous version")
    subject = view.subject(name)
    if subject is not None and wanted not in subject.versions and len(subject.versions) >= view.limits.versions:
        raise Invalid(
            f"Subject {name.qualified} has {len(subject.versions)} versions, and no more are taken: "
            "delete old ones permanently",
            code=42205,
        )
    return wanted


def written(
    view: View, asked: Registration, subject: Subject, new: Understood, number: int
) -> tuple[Sequence[Change], Version]:
    context = subject.context
    id_ = identity(view, asked, context, new)
    changes: list[Change] = []
    if context != DEFAULT and context not in view.catalog.of_kind("context"):
        changes.append(RecordSet(kind="context", key=context, body=b"{}"))
    if (context, id_) not in view.catalog.ids:
        changes.append(SchemaAdded(context=context, id=id_, guid=new.guid, references=new.targets, schema=new.schema))
    changes.extend(replaced(view, subject, number, id_))
    row = VersionSet(context=context, subject=subject.name, version=number, id=id_, at=asked.at)
    changes.append(row)
    made = Version(subject=subject.qualified, version=number, id=id_, guid=new.guid, schema=new.schema, at=asked.at)
    return changes, made


def identity(view: View, asked: Registration, context: str, new: Understood) -> int:
    """The id: the one that the schema has in this context already, the one that was given, or the next."""
    known = view.catalog.guids.get((context, new.guid))
    if asked.id < 0:
        if known is not None:
            return known
        fresh = view.catalog.highest.get(context, 0) + 1
        if fresh > LARGEST_ID:
            raise Invalid(f"No id is left in context {context}: ids end at {LARGEST_ID}", code=42205)
        return fresh
    if known is not None and known != asked.id:
        text = f"The schema stands under id {known} in this context already, and cannot be given id {asked.id} as well"
        raise Invalid(text, code=42207)
    there = view.catalog.ids.get((context, asked.id))
    if there is not None and there.guid != new.guid:
        raise different_content(asked.id, Name(context, "").qualified)
    return asked.id


def replaced(view: View, subject: Subject, number: int, id_: int) -> list[Change]:
    """Softly deleted versions with this id make room for the new one, save where something refers to them.

    An import may set a version anew: what stood there before goes, and its id with it if nothing else has it.
    """
    changes: list[Change] = [
        VersionErased(context=row.context, subject=row.subject, version=row.version)
        for row in subject.versions.values()
        if row.deleted and row.id == id_ and row.version < number and not referrers(view.catalog, row)
    ]
    before = subject.versions.get(number)
    if before is not None and before.id != id_:
        if referrers(view.catalog, before):
            raise referenced(subject.qualified, number)
        if len(view.catalog.ids[before.context, before.id].places) == 1:
            changes.append(VersionErased(context=before.context, subject=before.subject, version=number))
            changes.append(SchemaErased(context=before.context, id=before.id))
    return changes
