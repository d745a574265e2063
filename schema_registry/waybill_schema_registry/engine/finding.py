"""Which version of a subject has a schema (`AbstractSchemaRegistry.lookUpSchemaUnderSubject`)."""

from __future__ import annotations

import msgspec

from waybill_schema_registry.engine.catalog import Subject
from waybill_schema_registry.engine.guid import guid_of
from waybill_schema_registry.engine.metadata import CONFLUENT_VERSION, confluent_version, merged_metadata, populated
from waybill_schema_registry.engine.subjects import Name
from waybill_schema_registry.engine.view import Understood, View
from waybill_schema_registry.entities import Metadata, Schema, Version
from waybill_schema_registry.stores.store import VersionSet

__all__ = ["find", "same"]


def find(view: View, name: Name, schema: Schema, *, normalize: bool, deleted: bool = False) -> Version | None:
    """Also where it has what it does not say of the version before it, or of the config. Raises `InvalidSchema`, `Needed`."""
    if not schema.text.strip():
        return None
    subject = view.subject(name)
    understood = view.understood(name, schema, normalize=normalize)
    if subject is None:
        return None
    found = same(view, subject, understood, deleted=deleted)
    latest = subject.latest
    if found is None and latest is not None:
        previous = view.text(latest.context, latest.id)
        config = view.config(name)
        whole = populated(config, understood.schema, previous, number=0)
        if whole != understood.schema:
            completed = msgspec.structs.replace(understood, schema=whole, guid=guid_of(whole))
            found = same(view, subject, completed, deleted=deleted)
    return view.version(found) if found is not None else None


def same(view: View, subject: Subject, wanted: Understood, *, deleted: bool = False) -> VersionSet | None:
    """The newest version of a subject that has this schema."""
    return (
        with_guid(view, subject, wanted.guid, deleted=deleted)
        or numbered(view, subject, wanted, deleted=deleted)
        or resolved(view, subject, wanted, deleted=deleted)
    )


def with_guid(view: View, subject: Subject, guid: str, *, deleted: bool) -> VersionSet | None:
    id_ = view.catalog.guids.get((subject.context, guid))
    if id_ is None:
        return None
    name = subject.qualified
    numbers = [number for where, number in view.catalog.ids[subject.context, id_].places if where == name]
    rows = [subject.versions[number] for number in sorted(numbers, reverse=True)]
    # A live one rather than a deleted one, then the newest.
    return next((row for row in rows if not row.deleted), rows[0] if deleted and rows else None)


def numbered(view: View, subject: Subject, wanted: Understood, *, deleted: bool) -> VersionSet | None:
    """The version whose metadata say its number, and nothing else beside."""
    latest = subject.latest
    if latest is None or confluent_version(wanted.schema.metadata) is not None:
        return None
    if confluent_version(view.text(latest.context, latest.id).metadata) is None:
        return None
    for row in reversed(subject.versions.values()):
        said = Metadata(properties={CONFLUENT_VERSION: str(row.version)})
        metadata = merged_metadata(wanted.schema.metadata, said)
        guid = guid_of(msgspec.structs.replace(wanted.schema, metadata=metadata))
        if (deleted or not row.deleted) and view.catalog.ids[row.context, row.id].guid == guid:
            return row
    return None


def resolved(view: View, subject: Subject, wanted: Understood, *, deleted: bool) -> VersionSet | None:
    """The version that is this schema once its references are put in."""
    if wanted.closure:
        return None
    for row in reversed(subject.versions.values()):
        if not view.catalog.ids[row.context, row.id].references or (row.deleted and not deleted):
            continue
        old = view.kept(row.context, row.id)
        alike = (old.schema.format, old.schema.metadata, old.schema.rules) == (
            wanted.schema.format,
            wanted.schema.metadata,
            wanted.schema.rules,
        )
        if alike and view.resolved(old) == wanted.schema.text:
            return row
    return None
