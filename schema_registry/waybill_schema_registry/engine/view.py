"""What a decision or an answer may look at: a catalog, and the texts that are at hand. Pure: what is missing is `Needed`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from waybill_schema_registry.engine.catalog import Catalog, Draft, Place, Subject
from waybill_schema_registry.engine.failures import no_schema
from waybill_schema_registry.engine.guid import guid_of
from waybill_schema_registry.engine.library import Library, Meaning, Meant, Needed, TextKey
from waybill_schema_registry.engine.limits import Limits
from waybill_schema_registry.engine.scopes import config_in_scope
from waybill_schema_registry.engine.subjects import DEFAULT, Name, qualified, split
from waybill_schema_registry.entities import LATEST, Config, Reference, Schema, Version
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.format import Parsed
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.store import VersionSet

__all__ = ["Understood", "View"]


class Understood(msgspec.Struct, frozen=True):
    """A schema that can be read: as it is kept, its GUID, and all that it refers to.

    targets: its references, with qualified subjects. closure: the indirect ones too. meant: their names and GUIDs.
    """

    schema: Schema
    guid: str
    meant: Meant
    closure: tuple[tuple[str, Place], ...]
    targets: tuple[Reference, ...]

    @property
    def meaning(self) -> Meaning:
        return self.guid, self.meant


class View:
    def __init__(
        self, catalog: Catalog, library: Library, at_hand: Mapping[TextKey, Schema], *, level: Level, limits: Limits
    ) -> None:
        self.catalog = catalog
        self.library = library
        self.at_hand = at_hand
        self.level = level
        self.limits = limits

    # Names.

    def subject(self, name: Name) -> Subject | None:
        return self.catalog.subjects.get(name.qualified)

    def everywhere(self, name: Name) -> Iterator[Name]:
        """This name, and where it names no context, the same in every other one."""
        yield name
        if name.context == DEFAULT:
            yield from (Name(context, name.subject) for context in self.contexts() if context != DEFAULT)

    def contexts(self) -> list[str]:
        return [DEFAULT, *sorted(self.catalog.of_kind("context"))]

    def config(self, name: Name) -> Config:
        return config_in_scope(self.catalog, name, self.level)

    # Texts.

    def text(self, context: str, id: int) -> Schema:  # noqa: A002 - as the API names it
        """Raises `Needed`, or `NotFound` where the id stands for nothing."""
        return self.texts(context, [id])[0]

    def texts(self, context: str, ids: Iterable[int]) -> list[Schema]:
        found: list[Schema] = []
        missing: list[TextKey] = []
        for id_ in ids:
            schema = self._text(context, id_, missing)
            if schema is not None:
                found.append(schema)
        if missing:
            raise Needed(missing)
        return found

    def _text(self, context: str, id_: int, missing: list[TextKey]) -> Schema | None:
        kept = self.catalog.ids.get((context, id_))
        if kept is None:
            raise no_schema(id_)
        if isinstance(self.catalog, Draft) and (context, id_) in self.catalog.texts:
            return self.catalog.texts[context, id_]
        key = (context, id_, kept.guid)
        schema = self.library.texts.get(key) or self.at_hand.get(key)
        if schema is None:
            missing.append(key)
        return schema

    def missing(self, rows: Iterable[VersionSet]) -> list[TextKey]:
        """The texts of these versions that are not at hand."""
        missing: list[TextKey] = []
        for row in rows:
            self._text(row.context, row.id, missing)
        return missing

    def demand(self, rows: Iterable[VersionSet]) -> None:
        """Raises `Needed` for all that is not at hand, at once."""
        missing = self.missing(rows)
        if missing:
            raise Needed(missing)

    def version(self, row: VersionSet) -> Version:
        """As it is answered, with its text. Raises `Needed`."""
        return Version(
            subject=qualified(row.context, row.subject),
            version=row.version,
            id=row.id,
            guid=self.catalog.ids[row.context, row.id].guid,
            schema=self.text(row.context, row.id),
            at=row.at,
            deleted=row.deleted,
        )

    def bare(self, row: VersionSet) -> Version:
        """As it is listed, without its text."""
        guid = self.catalog.ids[row.context, row.id].guid
        name = qualified(row.context, row.subject)
        nothing = Schema(text="")
        return Version(
            subject=name, version=row.version, id=row.id, guid=guid, schema=nothing, at=row.at, deleted=row.deleted
        )

    # Meanings.

    def understood(
        self, name: Name, schema: Schema, *, normalize: bool, strict: bool = False, fresh: bool = False
    ) -> Understood:
        """A schema that was given, as it would be kept under this subject. fresh: it may refer to nothing that is softly
        deleted. Raises `InvalidSchema`, `Needed`."""
        given = tuple(self.settled(name.context, reference) for reference in schema.references)
        if normalize:
            given = tuple(sorted(set(given), key=lambda each: (each.name, each.subject, each.version)))
        targets = self.targets(name.context, given, deleted=not fresh)
        closure = self.closure(targets)
        meant = self.meant(closure)
        key = (schema.format, schema.text, meant, strict)
        text = self.library.known_canonical(key, normalize=normalize)
        if text is None:
            text = self.library.canonical(key, self.needed(closure), normalize=normalize)
        kept = Schema(text=text, format=schema.format, references=given, metadata=schema.metadata, rules=schema.rules)
        return Understood(kept, identity(kept), meant, closure, targets)

    def kept(self, context: str, id: int) -> Understood:  # noqa: A002
        """A schema that is kept. Raises `Needed`."""
        schema = self.text(context, id)
        entry = self.catalog.ids[context, id]
        closure = self.closure(entry.references)
        return Understood(schema, entry.guid, self.meant(closure), closure, entry.references)

    def parsed(self, understood: Understood) -> Parsed:
        key = (understood.schema.format, understood.schema.text, understood.meant, False)
        return self.library.parsed(key) or self.library.parse(key, self.needed(understood.closure))

    def resolved(self, understood: Understood) -> str:
        """The text with its references put in."""
        if not understood.closure:
            return understood.schema.text
        key = (understood.schema.format, understood.schema.text, understood.meant, False)
        return self.library.resolved(key) or self.library.resolve(key, self.parsed(understood))

    def meaning(self, context: str, id: int) -> Meaning:  # noqa: A002
        """What makes two schemas the same to a reader and a writer, found without their texts."""
        entry = self.catalog.ids[context, id]
        return entry.guid, self.meant(self.closure(entry.references)) if entry.references else ()

    # References.

    def settled(self, context: str, reference: Reference) -> Reference:
        """With the number of the latest version where that was meant, as it is kept then."""
        if reference.version != LATEST:
            return reference
        subject = self.subject(referred(context, reference))
        latest = subject.latest if subject else None
        if latest is None:
            raise missing_reference(reference)
        return msgspec.structs.replace(reference, version=latest.version)

    def targets(self, context: str, references: Iterable[Reference], *, deleted: bool) -> tuple[Reference, ...]:
        """References with qualified subjects. Raises `InvalidSchema` for what is not there."""
        found: list[Reference] = []
        for reference in references:
            name = referred(context, reference)
            subject = self.subject(name)
            row = subject.versions.get(reference.version) if subject else None
            if row is None or (row.deleted and not deleted):
                raise missing_reference(reference)
            found.append(msgspec.structs.replace(reference, subject=name.qualified))
        return tuple(found)

    def place(self, target: Reference) -> Place:
        subject = self.catalog.subjects.get(target.subject)
        row = subject.versions.get(target.version) if subject else None
        if row is None:
            raise missing_reference(target)
        return row.context, row.id

    def closure(self, targets: Sequence[Reference]) -> tuple[tuple[str, Place], ...]:
        """All that is needed, indirectly too, by name; depth first, so that what others need stands before them."""
        found: dict[tuple[str, Place], None] = {}
        expanded: set[Place] = set()
        stack = [(target, False) for target in reversed(targets)]
        while stack:
            target, ready = stack.pop()
            place = self.place(target)
            if ready or place in expanded:
                found[target.name, place] = None
                continue
            expanded.add(place)
            if len(expanded) > self.limits.references:
                raise InvalidSchema(f"Too many references: {self.limits.references} are taken, indirect ones included")
            stack.append((target, True))
            stack.extend((each, False) for each in reversed(self.catalog.ids[place].references))
        return tuple(found)

    def meant(self, closure: Iterable[tuple[str, Place]]) -> Meant:
        return tuple((name, self.catalog.ids[place].guid) for name, place in closure)

    def needed(self, closure: Iterable[tuple[str, Place]]) -> dict[str, str]:
        """Names and texts. Raises `Needed`."""
        found: dict[str, str] = {}
        missing: list[TextKey] = []
        for name, (context, id_) in closure:
            schema = self._text(context, id_, missing)
            if schema is not None:
                found.setdefault(name, schema.text)
        if missing:
            raise Needed(missing)
        return found


def referred(context: str, reference: Reference) -> Name:
    """Whom a reference names: in the same context, if it names none."""
    name = split(reference.subject)
    return Name(context, name.subject) if name.context == DEFAULT else name


def identity(schema: Schema) -> str:
    try:
        return guid_of(schema)
    except UnicodeEncodeError:
        raise InvalidSchema("The schema is not valid Unicode: leave out lone surrogates") from None


def missing_reference(reference: Reference) -> InvalidSchema:
    return InvalidSchema(f'No schema reference found for subject "{reference.subject}" and version {reference.version}')
