"""What is asked of the registry without changing it: functions of what stands there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from waybill_schema_registry.engine.catalog import Subject
from waybill_schema_registry.engine.checking import check
from waybill_schema_registry.engine.failures import no_schema, no_subject, no_version
from waybill_schema_registry.engine.finding import find
from waybill_schema_registry.engine.reaching import VersionNumber, exists, id_place, number_of, row_of, version_of
from waybill_schema_registry.engine.referring import referrers
from waybill_schema_registry.engine.subjects import ANY, DEFAULT, Name, split, within
from waybill_schema_registry.engine.verdict import Compatibility
from waybill_schema_registry.engine.view import View
from waybill_schema_registry.entities import LATEST, RuleSet, Schema, Version
from waybill_schema_registry.errors import InvalidSchema, NotFound
from waybill_schema_registry.stores.store import VersionSet

__all__ = [
    "Listed",
    "by_guid",
    "by_id",
    "compatible",
    "contexts",
    "ids_of",
    "latest_with_metadata",
    "lookup",
    "referenced_by",
    "resolved",
    "schemas",
    "stands",
    "subjects",
    "version",
    "versions",
    "versions_of",
]


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a list of schemas. aliases: subjects that stand for this one."""

    version: Version
    aliases: tuple[str, ...] = ()


def lookup(view: View, subject: str, schema: Schema, *, normalize: bool | None, deleted: bool) -> Version:
    name = split(subject)
    for each in view.everywhere(name):
        if each != name and view.subject(each) is None:
            continue
        try:
            wanted = bool(normalize or view.config(each).normalize)
            found = find(view, each, schema, normalize=wanted, deleted=deleted)
        except InvalidSchema:
            if each == name:
                raise
            continue  # What it refers to is not in this context.
        if found is not None:
            return found
    if not exists(view.subject(name), deleted=deleted):
        raise no_subject(name.qualified)
    raise no_schema()


def version(view: View, subject: str, number: VersionNumber | str, *, deleted: bool) -> Version:
    return view.version(version_of(view, split(subject), number, deleted=deleted))


def versions(view: View, subject: str, *, deleted: bool, deleted_only: bool) -> list[Version]:
    name = split(subject)
    there = view.subject(name)
    if there is None or not exists(there, deleted=deleted or deleted_only):
        raise no_subject(name.qualified)
    return [view.bare(row) for row in chosen(there, deleted=deleted, deleted_only=deleted_only)]


def chosen(subject: Subject, *, deleted: bool, deleted_only: bool) -> Iterator[VersionSet]:
    for row in subject.versions.values():
        if row.deleted if deleted_only else (deleted or not row.deleted):
            yield row


def matching(view: View, prefix: str) -> list[Subject]:
    """By their qualified names."""
    outer = split(prefix)
    everything = view.catalog.subjects
    if outer == Name(ANY, ""):
        return [everything[name] for name in view.catalog.names()]
    return [everything[name] for name in view.catalog.names() if within(outer, split(name))]


def subjects(view: View, prefix: str, *, deleted: bool, deleted_only: bool) -> list[str]:
    """deleted_only: those that have nothing else."""
    return [
        subject.qualified
        for subject in matching(view, prefix)
        if (subject.latest is None if deleted_only else deleted or subject.latest is not None)
    ]


def latest_with_metadata(view: View, subject: str, pairs: Mapping[str, str], *, deleted: bool) -> Version:
    name = split(subject)
    there = view.subject(name)
    if there is None or not exists(there, deleted=deleted):
        raise no_subject(name.qualified)
    rows = list(chosen(there, deleted=deleted, deleted_only=False))[::-1]
    for row, schema in zip(rows, view.texts(name.context, [row.id for row in rows]), strict=True):
        if schema.metadata is not None and pairs.items() <= schema.metadata.properties.items():
            return view.version(row)
    raise no_schema()


def by_id(view: View, id_: int, subject: str | None) -> Version:
    """As a version of the subject, where one was asked for that has it."""
    context, _ = id_place(view, id_, subject)
    kept = view.catalog.ids[context, id_]
    wanted = split(subject or "")
    place = next(((name, number) for name, number in kept.places if split(name).subject == wanted.subject), None)
    if wanted.subject and place is not None:
        return view.version(view.catalog.subjects[place[0]].versions[place[1]])
    return plain(view, context, id_)


def plain(view: View, context: str, id_: int) -> Version:
    """What an id stands for, and nothing that may change while it stands."""
    guid = view.catalog.ids[context, id_].guid
    return Version(subject="", version=0, id=id_, guid=guid, schema=view.text(context, id_))


def ids_of(view: View, guid: str) -> list[tuple[str, int]]:
    found = [
        (context, id_)
        for context in view.contexts()
        if (id_ := view.catalog.guids.get((context, guid.lower()))) is not None
    ]
    if not found:
        raise no_schema(guid)
    return found


def by_guid(view: View, guid: str) -> Version:
    return plain(view, *ids_of(view, guid)[0])


def versions_of(view: View, id_: int, subject: str | None, *, deleted: bool) -> list[tuple[str, int]]:
    """subject: the context, or the subject alone if it has the id."""
    context, _ = id_place(view, id_, subject)
    return sorted(
        (name, number)
        for name, number in view.catalog.ids[context, id_].places
        if deleted or not view.catalog.subjects[name].versions[number].deleted
    )


def referenced_by(view: View, subject: str, number: VersionNumber | str, *, deleted: bool) -> list[int]:
    row = version_of(view, split(subject), number, deleted=True)
    return sorted({id_ for place in referrers(view.catalog, row) for id_ in shown(view, place, deleted=deleted)})


def shown(view: View, place: tuple[str, int], *, deleted: bool) -> Iterator[int]:
    for name, number in view.catalog.ids[place].places:
        if deleted or not view.catalog.subjects[name].versions[number].deleted:
            yield place[1]


def schemas(
    view: View,
    prefix: str,
    *,
    aliases: bool,
    deleted: bool,
    latest_only: bool,
    rule_type: str | None,
    offset: int,
    limit: int,
) -> list[Listed]:
    """limit: below 0 is all."""
    others = standing_for(view) if aliases else {}
    rows: list[VersionSet] = []
    for subject in matching(view, prefix):
        some = list(chosen(subject, deleted=deleted, deleted_only=False))
        rows.extend(some[-1:] if latest_only else some)
    if rule_type:
        rows = [row for row in with_texts(view, rows) if has_rule(view.text(row.context, row.id).rules, rule_type)]
    rows = rows[offset:] if limit < 0 else rows[offset : offset + limit]
    found = [view.version(row) for row in with_texts(view, rows)]
    return [Listed(version=each, aliases=tuple(others.get(each.subject, ()))) for each in found]


def with_texts(view: View, rows: list[VersionSet]) -> list[VersionSet]:
    """These rows, their texts all asked for at once."""
    view.demand(rows)
    return rows


def standing_for(view: View) -> dict[str, list[str]]:
    """From subjects to their aliases."""
    found: dict[str, list[str]] = {}
    for scope, config in view.catalog.configs.items():
        name = split(scope)
        if config.alias and name.subject:
            meant = split(config.alias)
            if meant.context == DEFAULT:
                meant = Name(name.context, meant.subject)
            found.setdefault(meant.qualified, []).append(scope)
    return found


def has_rule(rules: RuleSet | None, type_: str) -> bool:
    if rules is None:
        return False
    return any(rule.type == type_ for rule in (*rules.migration_rules, *rules.domain_rules, *rules.encoding_rules))


def compatible(
    view: View, subject: str, schema: Schema, number: VersionNumber | str | None, *, normalize: bool | None
) -> Compatibility:
    """number: one version, whatever the level; None: the history."""
    name = split(subject)
    there = view.subject(name)
    if number is None:
        rows = there.live() if there else []
    else:
        wanted = number_of(number)
        row = row_of(there, wanted, deleted=False)
        if row is None and wanted != LATEST:
            raise no_version(wanted)
        rows = [row] if row else []
    config = view.config(name)
    if not schema.text.strip():
        raise InvalidSchema("Empty schema")
    new = view.understood(name, schema, normalize=bool(normalize or config.normalize))
    changed = there.changed if there else 0
    key = (view.catalog.serial, name.qualified, changed, view.catalog.settled, number, new.meaning)
    verdict = view.library.verdicts.get(key)
    if verdict is None:
        verdict = check(view, new, rows, config)
        view.library.verdicts.put(key, verdict, verdict.weight)
    return verdict


def contexts(view: View, prefix: str) -> list[str]:
    return [context for context in view.contexts() if context.startswith(prefix)]


def resolved(view: View, version: Version) -> str:
    """The text with its references put in."""
    for context in [split(version.subject).context] if version.subject else view.contexts():
        if view.catalog.guids.get((context, version.guid)) == version.id:
            return view.resolved(view.kept(context, version.id))
    raise no_schema(version.id)


def stands(view: View, id_: int, subject: str | None) -> bool:
    try:
        return id_place(view, id_, subject) not in view.catalog.erased
    except NotFound:
        return False
