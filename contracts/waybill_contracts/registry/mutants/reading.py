"""Wrong about what is there."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

from msgspec.structs import replace

from waybill_contracts.registry.mutants.wrapping import Wrapped, mutant
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.memory import MemoryStore
from waybill_schema_registry.stores.store import Change, SchemaErased, VersionErased

__all__: list[str] = []

Found = AsyncGenerator[tuple[int, Sequence[Change]]]


@mutant(1)
class BeginsAtOne(Wrapped):
    """It counts from 1."""

    async def revision(self) -> int:
        return max(1, await self.sound.revision())


@mutant(14, 15)
class KnowsItsOwnCommitsOnly(Wrapped):
    """It remembers the revision of its own last commit and asks nobody."""

    last: int | None = None

    async def revision(self) -> int:
        if self.last is None:
            self.last = await self.sound.revision()
        return self.last

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        self.last = await self.sound.commit(after, changes)
        return self.last


@mutant(7)
class ForgetsErasures(Wrapped):
    """It does not tell what was erased."""

    async def changes(self, after: int) -> Found:
        async for revision, changes in self.sound.changes(after):
            yield revision, [change for change in changes if not isinstance(change, SchemaErased | VersionErased)]


@mutant(13)
class ForgetsWhatIsNoLonger(Wrapped):
    """Who begins to read is told of what stands, and of nothing that once stood."""

    async def changes(self, after: int) -> Found:
        gone = {
            (change.context, change.id)
            async for _, changes in self.sound.changes(after)
            for change in changes
            if isinstance(change, SchemaErased)
        }
        async for revision, changes in self.sound.changes(after):
            yield revision, [c for c in changes if getattr(c, "id", None) is None or (c.context, c.id) not in gone]  # type: ignore[union-attr]


@mutant(9)
class SkipsTheNextRevision(Wrapped):
    """Who reads on from a revision misses the one behind it."""

    async def changes(self, after: int) -> Found:
        async for found in self.sound.changes(after + 1 if after else 0):
            yield found


@mutant(8)
class TellsTheRevisionTooEarly(Wrapped):
    """It says the last revision with the first changes."""

    async def changes(self, after: int) -> Found:
        pieces = [found async for found in self.sound.changes(after)]
        last = pieces[-1][0] if pieces else 0
        for number, (_, changes) in enumerate(pieces, start=1 - len(pieces)):
            yield last + number, changes


@mutant(5)
class LosesWhatIsBesideTheText(Wrapped):
    """Metadata and rules do not come back."""

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        found = await self.sound.schemas(context, ids)
        return {ident: replace(schema, metadata=None, rules=None) for ident, schema in found.items()}


@mutant(6)
class WritesTextsAnew(Wrapped):
    """It gives texts back as its own JSON writer would have written them."""

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        found = await self.sound.schemas(context, ids)
        return {ident: replace(schema, text=_again(schema.text)) for ident, schema in found.items()}


@mutant(18)
class GivesAThousandTextsAtMost(Wrapped):
    """It leaves out what does not fit into one question."""

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        return await self.sound.schemas(context, ids[:1000])


@mutant(18)
class MakesUpTexts(Wrapped):
    """It has an empty text for an id that is not there."""

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        return dict.fromkeys(ids, Schema(text="")) | await self.sound.schemas(context, ids)


@mutant(14, 16)
class ForgetsWhenItIsClosed(Wrapped):
    """It keeps everything in memory."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.sound = MemoryStore()  # type: ignore[assignment]


@mutant(23)
class CanBeOpenedOnce(Wrapped):
    """What it had when it was closed it takes for what it has."""

    opened = False

    async def open(self) -> None:
        if not self.opened:
            await super().open()
        self.opened = True


@mutant(20)
class OneOpensAtATime(Wrapped):
    """Who opens a place while somebody else makes it fails."""

    opening: ClassVar[set[str]] = set()

    async def open(self) -> None:
        if self.path in self.opening:
            raise StoreError("relation already exists")
        self.opening.add(self.path)
        try:
            await super().open()
        finally:
            self.opening.discard(self.path)


def _again(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text
