"""Versions and ids as requests name them: `latest`, -1, a number; in this context or any."""

from __future__ import annotations

from typing import Literal

from waybill_schema_registry.engine.catalog import Place, Subject
from waybill_schema_registry.engine.failures import invalid_version, no_schema, no_subject, no_version
from waybill_schema_registry.engine.limits import LARGEST_ID
from waybill_schema_registry.engine.subjects import ANY, DEFAULT, Name, split
from waybill_schema_registry.engine.view import View
from waybill_schema_registry.entities import LATEST
from waybill_schema_registry.stores.store import VersionSet

__all__ = ["VersionNumber", "exists", "id_place", "number_of", "row_of", "version_of"]

VersionNumber = int | Literal["latest"]


def number_of(version: VersionNumber | str) -> int:
    """-1 for the latest. Raises `Invalid` (42202)."""
    if isinstance(version, str):
        text = version.strip()
        if text.lower() == "latest":
            return LATEST
        if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit() or len(text) > 11:
            raise invalid_version(version)
        version = int(text)
    if version != LATEST and not 1 <= version <= LARGEST_ID:
        raise invalid_version(version)
    return version


def exists(subject: Subject | None, *, deleted: bool) -> bool:
    return subject is not None and (deleted or subject.latest is not None)


def row_of(subject: Subject | None, number: int, *, deleted: bool) -> VersionSet | None:
    """The latest is never a deleted one."""
    if subject is None:
        return None
    row = subject.latest if number == LATEST else subject.versions.get(number)
    return None if row is None or (row.deleted and not deleted) else row


def version_of(view: View, name: Name, version: VersionNumber | str, *, deleted: bool) -> VersionSet:
    """Of this subject, or where it names no context, of the first context that has it. Raises `NotFound`, `Invalid`."""
    number = number_of(version)
    for each in view.everywhere(name):
        row = row_of(view.subject(each), number, deleted=deleted)
        if row is not None:
            return row
    if not exists(view.subject(name), deleted=deleted):
        raise no_subject(name.qualified)
    raise no_version(number)


def id_place(view: View, id_: int, subject: str | None) -> Place:
    """Where an id stands: in the context asked for; for a subject without one, where that subject has it. Raises `NotFound`."""
    name = split(subject or "")
    if name.context == ANY:
        candidates = [(context, id_) for context in view.contexts()]
    elif name.context != DEFAULT or not name.subject:
        candidates = [(name.context, id_)]
    else:
        candidates = [(each.context, id_) for each in view.everywhere(name) if has(view, each, id_)]
        candidates.append((DEFAULT, id_))
    for place in candidates:
        if place in view.catalog.ids:
            return place
    raise no_schema(id_)


def has(view: View, name: Name, id_: int) -> bool:
    kept = view.catalog.ids.get((name.context, id_))
    return kept is not None and any(where == name.qualified for where, _ in kept.places)
