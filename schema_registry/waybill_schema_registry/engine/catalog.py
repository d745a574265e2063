"""What stands in the registry, without the texts: all of it in memory, and made of nothing but a store's changes.

`Draft` is a catalog as it will be if a commit succeeds: it reads through to the one it stands on and never changes it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import count
from typing import Any, Protocol, Self, TypeVar

from waybill_schema_registry.engine.subjects import qualified
from waybill_schema_registry.entities import Config, Mode, Reference, Schema
from waybill_schema_registry.stores.store import (
    Change,
    ConfigSet,
    ModeSet,
    RecordSet,
    SchemaAdded,
    SchemaErased,
    VersionErased,
    VersionSet,
)

__all__ = ["Catalog", "Draft", "Kept", "Subject"]

Place = tuple[str, int]
"""A qualified subject and a version, or a context and an id."""

Key = TypeVar("Key")
Value = TypeVar("Value")


SERIALS = count()


class Copyable(Protocol):
    def copy(self) -> Self: ...


Own = TypeVar("Own", bound=Copyable)


class Subject:
    """A subject with its versions, ascending. changed: the revision that changed it last."""

    __slots__ = ("changed", "context", "name", "versions")

    def __init__(self, context: str, name: str, versions: dict[int, VersionSet]) -> None:
        self.context = context
        self.name = name
        self.versions = versions
        self.changed = 0

    @property
    def qualified(self) -> str:
        return qualified(self.context, self.name)

    @property
    def latest(self) -> VersionSet | None:
        """The last one that is not deleted."""
        for row in reversed(self.versions.values()):
            if not row.deleted:
                return row
        return None

    @property
    def next(self) -> int:
        return next(reversed(self.versions), 0) + 1

    def live(self) -> list[VersionSet]:
        return [row for row in self.versions.values() if not row.deleted]

    def put(self, row: VersionSet) -> None:
        append = row.version in self.versions or row.version >= self.next
        self.versions[row.version] = row
        if not append:
            self.versions = dict(sorted(self.versions.items()))

    def copy(self) -> Subject:
        return Subject(self.context, self.name, dict(self.versions))


class Kept:
    """What an id stands for: its GUID, the versions it refers to, and the versions that it is."""

    __slots__ = ("guid", "places", "references")

    def __init__(self, guid: str, references: tuple[Reference, ...], places: tuple[Place, ...] = ()) -> None:
        self.guid = guid
        self.references = references
        self.places = places

    def copy(self) -> Kept:
        return Kept(self.guid, self.references, self.places)


class Catalog:
    """All there is, up to `revision`. serial: no two have the same. settled: the revision that changed a config or a mode last. erased: the ids that were
    seen to go; an import may give them to something else."""

    def __init__(self) -> None:
        self.serial = next(SERIALS)
        self.revision = 0
        self.settled = 0
        self.erased: set[Place] = set()
        self.subjects: MutableMapping[str, Subject] = {}
        self.ids: MutableMapping[Place, Kept] = {}
        self.guids: MutableMapping[tuple[str, str], int] = {}
        self.highest: MutableMapping[str, int] = {}
        self.referrers: MutableMapping[Place, set[Place]] = {}
        self.configs: MutableMapping[str, Config] = {}
        self.modes: MutableMapping[str, Mode] = {}
        self.records: MutableMapping[str, Records] = {}
        self._names: list[str] | None = None

    def apply(self, revision: int, changes: Iterable[Change]) -> None:
        """Become what these changes lead to. Saying the same twice is saying it once."""
        self.revision = revision
        for change in changes:
            match change:
                case VersionSet():
                    self._version_set(change)
                case SchemaAdded():
                    self._added(change)
                case VersionErased():
                    self._version_erased(change)
                case SchemaErased():
                    self._erased(change)
                case ConfigSet():
                    put(self.configs, change.scope, change.config)
                    self.settled = revision
                case ModeSet():
                    put(self.modes, change.scope, change.mode)
                    self.settled = revision
                case RecordSet():
                    put(own(self.records, change.kind, dict[str, bytes]), change.key, change.body)

    def names(self) -> list[str]:
        """Of all subjects, sorted. Not to be changed."""
        if self._names is None:
            self._names = sorted(self.subjects)
        return self._names

    def of_kind(self, kind: str) -> Mapping[str, bytes]:
        return self.records.get(kind, {})

    def _added(self, change: SchemaAdded) -> None:
        place = (change.context, change.id)
        known = self.ids.get(place)
        if known is not None and known.guid == change.guid:
            return
        self.ids[place] = Kept(change.guid, change.references, known.places if known else ())
        self.guids[change.context, change.guid] = change.id
        self.highest[change.context] = max(change.id, self.highest.get(change.context, 0))
        for reference in change.references:
            own(self.referrers, (reference.subject, reference.version), set[Place]).add(place)

    def _erased(self, change: SchemaErased) -> None:
        place = (change.context, change.id)
        self.highest[change.context] = max(change.id, self.highest.get(change.context, 0))
        known = self.ids.pop(place, None)
        if known is None:
            return
        self.erased.add(place)
        if self.guids.get((change.context, known.guid)) == change.id:
            del self.guids[change.context, known.guid]
        for reference in known.references:
            referred = (reference.subject, reference.version)
            left = own(self.referrers, referred, set[Place])
            left.discard(place)
            if not left:
                del self.referrers[referred]

    def _version_set(self, change: VersionSet) -> None:
        name = qualified(change.context, change.subject)
        if self._names is not None and name not in self.subjects:
            insort(self._names, name)
        subject = own(self.subjects, name, lambda: Subject(change.context, change.subject, {}))
        before = subject.versions.get(change.version)
        if before is None or before.id != change.id:
            if before is not None:
                self._leave(before, name)
            kept = own(self.ids, (change.context, change.id), lambda: Kept("", ()))
            kept.places = (*kept.places, (name, change.version))
        subject.put(change)
        subject.changed = self.revision

    def _version_erased(self, change: VersionErased) -> None:
        name = qualified(change.context, change.subject)
        if name not in self.subjects:
            return
        subject = own(self.subjects, name, lambda: Subject(change.context, change.subject, {}))
        before = subject.versions.pop(change.version, None)
        if before is not None:
            self._leave(before, name)
        subject.changed = self.revision
        if not subject.versions:
            del self.subjects[name]
            if self._names is not None:
                del self._names[bisect_left(self._names, name)]

    def _leave(self, row: VersionSet, name: str) -> None:
        if (row.context, row.id) in self.ids:
            kept = own(self.ids, (row.context, row.id), lambda: Kept("", ()))
            kept.places = tuple(place for place in kept.places if place != (name, row.version))


class Layer(MutableMapping[Key, Value]):
    """A mapping over another one that is left as it is. What may be changed in place is copied first (see `own`)."""

    __slots__ = ("below", "gone", "mine")

    def __init__(self, below: MutableMapping[Key, Value]) -> None:
        self.below = below
        self.mine: dict[Key, Value] = {}
        self.gone: set[Key] = set()

    def __getitem__(self, key: Key) -> Value:
        if key in self.mine:
            return self.mine[key]
        if key in self.gone:
            raise KeyError(key)
        return self.below[key]

    def get(self, key: Key, default: Any = None) -> Any:
        """As that of every mapping, without an exception on the way."""
        if key in self.mine:
            return self.mine[key]
        return default if key in self.gone else self.below.get(key, default)

    def __setitem__(self, key: Key, value: Value) -> None:
        self.mine[key] = value

    def __delitem__(self, key: Key) -> None:
        if key not in self:
            raise KeyError(key)
        self.mine.pop(key, None)
        self.gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self.mine or (key not in self.gone and key in self.below)

    def __iter__(self) -> Iterator[Key]:
        yield from self.mine
        yield from (key for key in self.below if key not in self.mine and key not in self.gone)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def copy(self) -> Self:
        return self


Records = dict[str, bytes] | Layer[str, bytes]


class Draft(Catalog):
    """A catalog as it will be. texts: of the schemas that it adds."""

    def __init__(self, base: Catalog) -> None:
        super().__init__()
        self.revision = base.revision + 1
        self.settled = base.settled
        self.subjects = Layer(base.subjects)
        self.ids = Layer(base.ids)
        self.guids = Layer(base.guids)
        self.highest = Layer(base.highest)
        self.referrers = Layer(base.referrers)
        self.configs = Layer(base.configs)
        self.modes = Layer(base.modes)
        self.records = Layer({kind: Layer(records) for kind, records in base.records.items()})
        self.texts: dict[Place, Schema] = {}
        self.changes: list[Change] = []

    def add(self, changes: Sequence[Change]) -> None:
        """Go on as if these had been committed."""
        self.apply(self.revision, changes)
        self.changes.extend(changes)
        for change in changes:
            if isinstance(change, SchemaAdded) and change.schema is not None:
                self.texts[change.context, change.id] = change.schema


def own(mapping: MutableMapping[Key, Own], key: Key, make: Callable[[], Own]) -> Own:
    """The value of a key, made if there is none; a copy of it where the mapping must leave what is below as it is."""
    if isinstance(mapping, Layer) and key not in mapping.mine:
        mapping[key] = mapping[key].copy() if key in mapping else make()
    elif key not in mapping:
        mapping[key] = make()
    return mapping[key]


def put(mapping: MutableMapping[str, Value], key: str, value: Value | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value
