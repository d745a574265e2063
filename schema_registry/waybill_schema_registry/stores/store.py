"""Where a registry keeps what it knows: a protocol of few verbs, the same for memory, SQLite and PostgreSQL.

A store knows no rule of the registry. It keeps rows and counts **revisions**: each commit is one revision, all of it or
nothing of it, and is durable when it has returned. The engine decides on what it has read up to some revision and commits
on condition that nobody has committed since; else the store raises `Moved`, and the engine reads on and decides anew. So no
lock is held while anything is decided, ids are taken in the commit that uses them, and several servers over one store
agree: whoever asks for `revision` after a commit has returned is told of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, TypeAlias

import msgspec

from waybill_schema_registry.entities import Config, Mode, Reference, Schema

__all__ = [
    "Change",
    "ConfigSet",
    "ModeSet",
    "Moved",
    "RecordSet",
    "SchemaAdded",
    "SchemaErased",
    "Store",
    "VersionErased",
    "VersionSet",
]


class Moved(Exception):
    """Somebody has committed since the revision that a commit was decided on. Nothing of it was kept."""


class SchemaAdded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A text under its id. In one context an id and a guid stand once each. context: `.` the default, else `.name`.

    references: the versions that it needs, their subjects qualified, their numbers never -1. schema: None where changes are
    read back; references are there in both directions.
    """

    context: str
    id: int
    guid: str
    references: tuple[Reference, ...] = ()
    schema: Schema | None = None


class SchemaErased(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The id stands for nothing any more. It is not given again."""

    context: str
    id: int


class VersionSet(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A version of a subject, new or changed. subject: without its context. at: milliseconds since 1970."""

    context: str
    subject: str
    version: int
    id: int
    at: int
    deleted: bool = False


class VersionErased(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A version that is gone for good."""

    context: str
    subject: str
    version: int


class ConfigSet(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The settings of a scope: a qualified subject, `:.context:`, or `` for all. None: it has none any more."""

    scope: str
    config: Config | None


class ModeSet(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The mode of a scope, as in `ConfigSet`."""

    scope: str
    mode: Mode | None


class RecordSet(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Anything else that is kept as JSON under a key of its own kind, e.g. associations. None: it is gone."""

    kind: str
    key: str
    body: bytes | None


Change: TypeAlias = SchemaAdded | SchemaErased | VersionSet | VersionErased | ConfigSet | ModeSet | RecordSet


class Store(Protocol):
    """Used by one event loop. What fails raises `StoreError`; nothing of a commit that raised it is certain."""

    async def open(self) -> None:
        """Connect, and make or migrate what is there. Raises `StoreError`, naming what to do."""
        ...

    async def close(self) -> None: ...

    async def revision(self) -> int:
        """Of the last commit, by whomever; 0 in an empty store. Called before every read: it is as cheap as can be."""
        ...

    def changes(self, after: int) -> AsyncGenerator[tuple[int, Sequence[Change]], None]:
        """What was committed after a revision, in order: each revision that is reached, with changes that lead there.

        It need not say what was changed and changed again in between, only what leads to the present state; but the highest
        id that ever stood in a context is among them, as erased if it is, so that it is not given again. A reader that
        stops after any pair has a consistent state of that revision. Schemas come without their texts.
        """
        ...

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        """The texts of these ids, as far as they are there."""
        ...

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        """Keep all of it, durably, if `after` is still the last revision; the new revision.

        Raises `Moved` if it is not, `StoreError` where the store does not answer, or is full, or refuses (a reference to
        what is not there, an id that stands already): constraints of its own hold what the engine has checked before.
        """
        ...
