"""A registry in memory: for tests, and for one that is filled anew each time. It goes with the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.store import Change, Moved, SchemaAdded, SchemaErased, VersionErased, VersionSet

__all__ = ["Memory", "MemoryStore"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memory:
    """What stands there, and all that was ever committed. Several stores may share one, as servers share a database."""

    def __init__(self) -> None:
        self.log: list[tuple[Change, ...]] = []
        self.schemas: dict[tuple[str, int], SchemaAdded] = {}
        self.guids: dict[tuple[str, str], int] = {}
        self.versions: dict[tuple[str, str], int] = {}
        self.uses: Counter[tuple[str, int]] = Counter()
        self.references: Counter[tuple[str, str]] = Counter()

    def commit(self, changes: Sequence[Change]) -> None:
        """All of it or nothing. Raises `StoreError`."""
        undo: list[Callable[[], object]] = []
        try:
            for change in changes:
                self._add(change, undo)
            for change in changes:
                self._check(change)
        except StoreError:
            for step in reversed(undo):
                step()
            raise
        self.log.append(tuple(without_text(change) for change in changes))

    def _add(self, change: Change, undo: list[Callable[[], object]]) -> None:
        match change:
            case SchemaAdded():
                place = (change.context, change.id)
                if change.schema is None or place in self.schemas or (change.context, change.guid) in self.guids:
                    raise StoreError(f"schema {change.id} of {change.context} stands already, or has no text")
                put(self.schemas, place, change, undo)
                put(self.guids, (change.context, change.guid), change.id, undo)
                self._refer(change, 1, undo)
            case SchemaErased():
                gone = self.schemas.get((change.context, change.id))
                if gone is not None:
                    put(self.schemas, (change.context, change.id), None, undo)
                    put(self.guids, (change.context, gone.guid), None, undo)
                    self._refer(gone, -1, undo)
            case VersionSet():
                self._use(change.context, change.subject, change.version, change.id, undo)
            case VersionErased():
                self._use(change.context, change.subject, change.version, None, undo)
            case _:
                pass

    def _refer(self, schema: SchemaAdded, by: int, undo: list[Callable[[], object]]) -> None:
        for reference in schema.references:
            key = version_key(*place_of(reference.subject), reference.version)
            count(self.references, key, by, undo)

    def _use(
        self, context: str, subject: str, version: int, schema: int | None, undo: list[Callable[[], object]]
    ) -> None:
        key = version_key(context, subject, version)
        before = self.versions.get(key)
        if before is not None:
            count(self.uses, (context, before), -1, undo)
        if schema is not None:
            count(self.uses, (context, schema), 1, undo)
        put(self.versions, key, schema, undo)

    def _check(self, change: Change) -> None:
        """What must hold when all is done: a version has its schema, a reference its version."""
        match change:
            case SchemaAdded():
                for reference in change.references if (change.context, change.id) in self.schemas else ():
                    self._demand_version(version_key(*place_of(reference.subject), reference.version))
            case SchemaErased():
                place = (change.context, change.id)
                if self.uses[place] and place not in self.schemas:
                    raise StoreError(f"schema {change.id} of {change.context} has versions, and cannot be erased")
            case VersionSet():
                key = version_key(change.context, change.subject, change.version)
                if key in self.versions and (change.context, self.versions[key]) not in self.schemas:
                    raise StoreError(f"version {change.version} of {change.subject} needs schema {change.id}")
            case VersionErased():
                key = version_key(change.context, change.subject, change.version)
                if self.references[key]:
                    self._demand_version(key)
            case _:
                pass

    def _demand_version(self, key: tuple[str, str]) -> None:
        if key not in self.versions:
            raise StoreError(f"a schema refers to version {' of '.join(reversed(key))}, which must be there")


class MemoryStore:
    """`Store` over a `Memory` of its own, or one that is shared."""

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = Memory() if memory is None else memory

    async def open(self) -> None:
        """There is nothing to be opened."""

    async def close(self) -> None:
        """What stands there stays, for who opens it again."""

    async def revision(self) -> int:
        return len(self._memory.log)

    async def changes(self, after: int) -> AsyncGenerator[tuple[int, Sequence[Change]], None]:
        log = self._memory.log
        while after < len(log):
            after += 1
            yield after, log[after - 1]

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        found = {id_: self._memory.schemas.get((context, id_)) for id_ in ids}
        return {id_: kept.schema for id_, kept in found.items() if kept is not None and kept.schema is not None}

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        if after != len(self._memory.log):
            raise Moved
        self._memory.commit(changes)
        return len(self._memory.log)


def put(mapping: dict[Key, Value], key: Key, value: Value | None, undo: list[Callable[[], object]]) -> None:
    undo.append(partial(place, mapping, key, mapping.get(key)))
    place(mapping, key, value)


def place(mapping: dict[Key, Value], key: Key, value: Value | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def count(counter: Counter[Key], key: Key, by: int, undo: list[Callable[[], object]]) -> None:
    put(counter, key, (counter[key] + by) or None, undo)


def version_key(context: str, subject: str, version: int) -> tuple[str, str]:
    return f":{context}:{subject}", str(version)


def place_of(subject: str) -> tuple[str, str]:
    """Context and subject of a qualified name."""
    if not subject.startswith(":."):
        return ".", subject
    context, _, rest = subject[1:].partition(":")
    return context, rest


def without_text(change: Change) -> Change:
    return msgspec.structs.replace(change, schema=None) if isinstance(change, SchemaAdded) else change
