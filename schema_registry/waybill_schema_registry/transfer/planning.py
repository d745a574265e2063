"""What has to change in a registry for a dump to be in it, and what stands against that: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

import msgspec

from waybill_schema_registry.engine.catalog import Catalog
from waybill_schema_registry.engine.guid import guid_of
from waybill_schema_registry.engine.subjects import DEFAULT, Name, split
from waybill_schema_registry.entities import Reference, Schema
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro import AvroFormat
from waybill_schema_registry.formats.format import Format
from waybill_schema_registry.stores.store import (
    Change,
    ConfigSet,
    ModeSet,
    RecordSet,
    SchemaAdded,
    SchemaErased,
    VersionSet,
)
from waybill_schema_registry.transfer.replaying import Dump, Kept

__all__ = ["Planned", "plan"]

Ident = tuple[str, int]
"""A context, and an id in it."""
Needed = dict[str, str]
"""Names and texts of what a schema refers to, those first that others need."""


@dataclass
class Planned:
    changes: list[Change] = field(default_factory=list[Change])
    wrong: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Text:
    """A schema of the dump. where: the first version that has it."""

    schema: Schema
    targets: tuple[Reference, ...]
    where: str


def plan(dump: Dump, catalog: Catalog, texts: Mapping[Ident, Schema]) -> Planned:
    """catalog, texts: what the registry has. All that is wrong is found, not the first of it."""
    return _Plan(dump, catalog, texts).made()


class _Plan:
    def __init__(self, dump: Dump, catalog: Catalog, texts: Mapping[Ident, Schema]) -> None:
        self._dump, self._catalog, self._there = dump, catalog, texts
        self._formats: Mapping[str, Format] = {each.name: each for each in (AvroFormat(),)}
        self._texts: dict[Ident, Text] = {}
        self._needed: dict[Ident, Needed | None] = {}
        self._guids = dict(catalog.guids)
        self._planned = Planned()

    def made(self) -> Planned:
        for name, number, kept in self._dump.versions():
            self._gather(name, number, kept)
        for (context, number), text in self._texts.items():  # what is written as it would be kept has the first claim
            self._guids.setdefault((context, guid_of(text.schema)), number)
        for ident in self._in_order():
            if ident in self._texts:
                self._schema(ident)
            else:
                self._needed[ident] = self._closure(self._catalog.ids[ident].references, "")
        for name, number, kept in self._dump.versions():
            self._version(name, number, kept)
        self._settings()
        self._ids()
        return self._planned

    def _wrong(self, text: str) -> None:
        self._planned.wrong.append(text)

    def _gather(self, name: Name, number: int, kept: Kept) -> None:
        value = kept.value
        where = f"version {number} of {name.qualified} (line {kept.line})"
        schema = Schema(
            text=value.schema,
            format=value.schema_type,
            references=value.references,
            metadata=value.metadata,
            rules=value.rule_set,
        )
        targets = tuple(_qualified(each, name.context) for each in value.references)
        known = self._texts.setdefault((name.context, value.id), Text(schema, targets, where))
        if known.schema != schema:
            self._wrong(f"id {value.id} stands for two schemas: of {known.where} and of {where}")

    def _in_order(self) -> Iterable[Ident]:
        """What others refer to comes first."""
        targets = {ident: self._catalog.ids[ident].references for ident in self._there}
        targets |= {ident: text.targets for ident, text in self._texts.items()}
        graph = {
            ident: {found for each in references if (found := self._ident(each)) in targets}
            for ident, references in targets.items()
        }
        try:
            return tuple(TopologicalSorter(graph).static_order())
        except CycleError as error:
            self._wrong(
                f"schemas refer to one another in a circle: ids {', '.join(str(ident) for _, ident in error.args[1])}"
            )
            return ()

    def _ident(self, target: Reference) -> Ident | None:
        """What the version is that is referred to."""
        name = split(target.subject)
        kept = self._dump.subjects.get(name, {}).get(target.version)
        if kept is not None:
            return name.context, kept.value.id
        subject = self._catalog.subjects.get(name.qualified)
        row = subject.versions.get(target.version) if subject else None
        return None if row is None else (row.context, row.id)

    def _schema(self, ident: Ident) -> None:
        text = self._texts[ident]
        needed = self._closure(text.targets, text.where)
        format_ = self._formats.get(text.schema.format)
        if format_ is None:
            known = ", ".join(self._formats)
            self._wrong(f"{text.where} is of the format {text.schema.format}, and only {known} is known: leave it out")
        if needed is None or format_ is None:
            return
        try:
            canonical = format_.parse(text.schema.text, needed, strict=False).text
        except InvalidSchema as error:
            self._wrong(f"{text.where} cannot be read: {error}")
            return
        self._needed[ident] = needed
        self._add(ident, text, msgspec.structs.replace(text.schema, text=canonical))

    def _add(self, ident: Ident, text: Text, canonical: Schema) -> None:
        """As it would be kept if it were registered here; where another id has that, as it stands in the dump."""
        context, number = ident
        standing = self._catalog.ids.get(ident)
        own = guid_of(canonical), guid_of(text.schema)
        if standing is not None:
            if standing.guid not in own:
                self._wrong(f"{text.where} has id {number}, which stands for another schema in the registry")
            return
        for guid, schema in zip(own, (canonical, text.schema), strict=True):
            if self._guids.setdefault((context, guid), number) == number:
                added = SchemaAdded(context=context, id=number, guid=guid, references=text.targets, schema=schema)
                self._planned.changes.append(added)
                return
        taken = self._guids[context, own[1]]
        self._wrong(f"{text.where} has id {number}, and the same schema stands under id {taken} of that context")

    def _closure(self, targets: Iterable[Reference], where: str) -> Needed | None:
        """All that these need. Nothing where something is missing, which is said of `where`."""
        found: Needed = {}
        for target in targets:
            ident = self._ident(target)
            schema = self._text(ident)
            if ident is None or schema is None:
                self._wrong(f"{where} needs version {target.version} of {target.subject}, which is nowhere")
                return None
            needed = self._needed.get(ident)
            if needed is None:
                return None  # what is wrong there was said
            found |= needed | {target.name: schema.text}
        return found

    def _text(self, ident: Ident | None) -> Schema | None:
        if ident is None:
            return None
        return self._texts[ident].schema if ident in self._texts else self._there.get(ident)

    def _version(self, name: Name, number: int, kept: Kept) -> None:
        new = VersionSet(
            context=name.context,
            subject=name.subject,
            version=number,
            id=kept.value.id,
            at=kept.at,
            deleted=kept.deleted,
        )
        subject = self._catalog.subjects.get(name.qualified)
        there = subject.versions.get(number) if subject else None
        if there is not None and there.id != new.id:
            self._wrong(
                f"version {number} of {name.qualified} (line {kept.line}) has id {new.id}, and {there.id} in the registry"
            )
        elif there is None or there.deleted != new.deleted or there.at != (new.at or there.at):
            self._planned.changes.append(new)

    def _settings(self) -> None:
        changes = self._planned.changes
        for scope, config in self._dump.configs.items():
            if self._catalog.configs.get(scope) != config:
                changes.append(ConfigSet(scope=scope, config=config))
        for scope, mode in self._dump.modes.items():
            if self._catalog.modes.get(scope) != mode:
                changes.append(ModeSet(scope=scope, mode=mode))
        contexts = (
            {name.context for name, _, _ in self._dump.versions()} - {DEFAULT} - set(self._catalog.of_kind("context"))
        )
        changes.extend(RecordSet(kind="context", key=context, body=b"{}") for context in sorted(contexts))

    def _ids(self) -> None:
        """Ids that were given and stand for nothing any more are not given again: messages may still bear them."""
        for context, highest in self._dump.highest.items():
            standing = max((number for where, number in self._texts if where == context), default=0)
            if highest > max(standing, self._catalog.highest.get(context, 0)):
                self._planned.changes.append(SchemaErased(context=context, id=highest))


def _qualified(reference: Reference, context: str) -> Reference:
    """A subject without a context is of the context of who refers to it."""
    name = split(reference.subject)
    within = Name(context, name.subject) if name.context == DEFAULT else name
    return msgspec.structs.replace(reference, subject=within.qualified)
