"""Versions and subjects go, softly at first, then for good (`SubjectsResource`, `SubjectVersionsResource`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from waybill_schema_registry.engine.associating import associated
from waybill_schema_registry.engine.catalog import Subject
from waybill_schema_registry.engine.failures import (
    context_not_empty,
    no_subject,
    no_version,
    not_permitted,
    referenced,
    subject_associated,
    subject_not_soft_deleted,
    subject_soft_deleted,
    version_not_soft_deleted,
    version_soft_deleted,
)
from waybill_schema_registry.engine.reaching import VersionNumber, number_of, row_of
from waybill_schema_registry.engine.referring import live_referrers, referrers
from waybill_schema_registry.engine.scopes import mode_in_scope
from waybill_schema_registry.engine.subjects import DEFAULT, Name, context_of, split
from waybill_schema_registry.engine.view import View
from waybill_schema_registry.entities import Mode
from waybill_schema_registry.errors import Invalid
from waybill_schema_registry.stores.store import (
    Change,
    ConfigSet,
    ModeSet,
    RecordSet,
    SchemaErased,
    VersionErased,
    VersionSet,
)

__all__ = ["delete_context", "delete_subject", "delete_version", "erased", "writable"]


def writable(view: View, name: Name) -> None:
    """Raises `Invalid` (42205) where nothing may be written."""
    if mode_in_scope(view.catalog, name) in (Mode.READONLY, Mode.READONLY_OVERRIDE):
        raise not_permitted(name, "in read-only")


def delete_version(
    view: View, subject: str, version: VersionNumber | str, *, permanent: bool
) -> tuple[Sequence[Change], int]:
    name = split(subject)
    number = number_of(version)
    there = view.subject(name)
    row = row_of(there, number, deleted=True)
    if there is None:
        raise no_subject(name.qualified)
    if row is None:
        raise no_version(number)
    if row.deleted and not permanent:
        raise version_soft_deleted(name.qualified, row.version)
    writable(view, name)
    refuse_referenced(view, there, [row], permanent=permanent)
    if permanent and not row.deleted:
        raise version_not_soft_deleted(name.qualified, row.version)
    return gone(view, there, [row], permanent=permanent), row.version


def delete_subject(view: View, subject: str, *, permanent: bool) -> tuple[Sequence[Change], list[int]]:
    name = split(subject)
    there = view.subject(name)
    if there is None:
        raise no_subject(name.qualified)
    if not permanent and there.latest is None:
        raise subject_soft_deleted(name.qualified)
    writable(view, name)
    if associated(view.catalog, name.qualified):
        raise subject_associated(name.qualified)
    rows = list(there.versions.values()) if permanent else there.live()
    refuse_referenced(view, there, rows, permanent=permanent)
    if permanent and there.latest is not None:
        raise subject_not_soft_deleted(name.qualified)
    return gone(view, there, rows, permanent=permanent), [row.version for row in rows]


def refuse_referenced(view: View, subject: Subject, rows: Sequence[VersionSet], *, permanent: bool) -> None:
    """Softly goes what nobody live refers to; for good, what nobody that stands refers to, for its text would be lost to them.

    Versions that go together may refer to one another.
    """
    going = {(row.context, row.id) for row in rows}
    whole = len(rows) == len(subject.live())
    for row in rows:
        if permanent:
            left = [place for place in referrers(view.catalog, row) if not goes(view, place, going, subject)]
        else:
            left = live_referrers(view.catalog, row, beside=subject.qualified if whole else None)
        if left:
            raise referenced(subject.qualified, row.version)


def goes(view: View, place: tuple[str, int], going: set[tuple[str, int]], subject: Subject) -> bool:
    return place in going and all(name == subject.qualified for name, _ in view.catalog.ids[place].places)


def gone(view: View, subject: Subject, rows: Sequence[VersionSet], *, permanent: bool) -> list[Change]:
    if not permanent:
        return [msgspec.structs.replace(row, deleted=True) for row in rows]
    changes = erased(view, rows)
    if subject.name and len(rows) == len(
        subject.versions
    ):  # what is set for the empty name holds for its whole context
        changes.extend(unset(view, subject.qualified))
    return changes


def erased(view: View, rows: Iterable[VersionSet]) -> list[Change]:
    """Versions for good, and each id with the last version that it is; who refers before who is referred to."""
    changes: list[Change] = []
    left: Counter[tuple[str, int]] = Counter()
    for row in sorted(rows, key=lambda row: (-row.id, -row.version)):
        place = (row.context, row.id)
        left[place] += 1
        changes.append(VersionErased(context=row.context, subject=row.subject, version=row.version))
        if left[place] == len(view.catalog.ids[place].places):
            changes.append(SchemaErased(context=row.context, id=row.id))
    return changes


def unset(view: View, scope: str) -> list[Change]:
    changes: list[Change] = []
    if scope in view.catalog.configs:
        changes.append(ConfigSet(scope=scope, config=None))
    if scope in view.catalog.modes:
        changes.append(ModeSet(scope=scope, mode=None))
    return changes


def delete_context(view: View, context: str) -> tuple[Sequence[Change], None]:
    """It must have no subjects, softly deleted ones included."""
    bare = context_of(context)
    if bare == DEFAULT:
        raise Invalid("The default context cannot be deleted", code=42205)
    if any(subject.context == bare for subject in view.catalog.subjects.values()):
        raise context_not_empty(bare)
    if bare not in view.catalog.of_kind("context"):
        return (), None
    name = Name(bare, "")
    writable(view, name)
    return [RecordSet(kind="context", key=bare, body=None), *unset(view, name.qualified)], None
