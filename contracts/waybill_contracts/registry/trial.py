"""What promises are shown with: stores of one place, and the state that changes lead to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from waybill_contracts.registry.harness import Place
from waybill_schema_registry.entities import Config, Mode, Reference, Schema
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.store import (
    Change,
    ConfigSet,
    ModeSet,
    RecordSet,
    SchemaAdded,
    SchemaErased,
    Store,
    VersionErased,
    VersionSet,
)

__all__ = ["State", "Trial", "added", "kept", "refused", "state_of", "version"]

K = TypeVar("K")
V = TypeVar("V")


@dataclass
class State:
    """What is so after some changes. highest: by context, the highest id that ever stood."""

    schemas: dict[tuple[str, int], tuple[str, tuple[Reference, ...]]] = field(
        default_factory=dict[tuple[str, int], tuple[str, tuple[Reference, ...]]]
    )
    versions: dict[tuple[str, str, int], tuple[int, int, bool]] = field(
        default_factory=dict[tuple[str, str, int], tuple[int, int, bool]]
    )
    configs: dict[str, Config] = field(default_factory=dict[str, Config])
    modes: dict[str, Mode] = field(default_factory=dict[str, Mode])
    records: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    highest: dict[str, int] = field(default_factory=dict[str, int])

    def apply(self, changes: Iterable[Change]) -> State:
        for change in changes:
            match change:
                case SchemaAdded():
                    self.schemas[change.context, change.id] = change.guid, change.references
                    self._seen(change.context, change.id)
                case SchemaErased():
                    self.schemas.pop((change.context, change.id), None)
                    self._seen(change.context, change.id)
                case VersionSet():
                    place = change.context, change.subject, change.version
                    self.versions[place] = change.id, change.at, change.deleted
                case VersionErased():
                    self.versions.pop((change.context, change.subject, change.version), None)
                case ConfigSet():
                    _put(self.configs, change.scope, change.config)
                case ModeSet():
                    _put(self.modes, change.scope, change.mode)
                case RecordSet():
                    _put(self.records, (change.kind, change.key), change.body)
        return self

    def _seen(self, context: str, ident: int) -> None:
        self.highest[context] = max(ident, self.highest.get(context, 0))


def _put(rows: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        rows.pop(key, None)
    else:
        rows[key] = value


class Trial:
    """One promise's place."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Store, None]:
        """Somebody who uses the place."""
        store = self.place.opener()
        await store.open()
        try:
            yield store
        finally:
            await store.close()


async def state_of(store: Store, after: int = 0, state: State | None = None) -> State:
    """What its changes lead to."""
    state = State() if state is None else state
    last = after
    async for revision, changes in store.changes(after):
        assert revision > last, f"revision {revision} comes after {last}"
        last = revision
        state.apply(changes)
    return state


async def refused(store: Store, changes: Sequence[Change], why: str) -> None:
    """A commit of these is refused, and nothing has changed."""
    before, revision = await state_of(store), await store.revision()
    try:
        await store.commit(revision, changes)
    except StoreError:
        assert await state_of(store) == before, f"{why}: it was refused, and some of it was kept"
        assert await store.revision() == revision, f"{why}: it was refused, and counts as a revision"
        return
    raise AssertionError(f"{why}: it was not refused")


def added(
    ident: int, *, context: str = ".", guid: str = "", text: str = "", to: Sequence[Reference] = ()
) -> SchemaAdded:
    """A schema; what is not said follows from its id."""
    return SchemaAdded(
        context=context,
        id=ident,
        guid=guid or f"guid-{ident}",
        references=tuple(to),
        schema=Schema(text=text or f'{{"type":"fixed","name":"F{ident}","size":{ident}}}', references=tuple(to)),
    )


def version(subject: str, number: int, ident: int, *, context: str = ".", deleted: bool = False) -> VersionSet:
    return VersionSet(
        context=context, subject=subject, version=number, id=ident, at=1_700_000_000_000 + number, deleted=deleted
    )


async def kept(store: Store, *changes: Change) -> int:
    """Commit them on what is there now."""
    return await store.commit(await store.revision(), changes)
