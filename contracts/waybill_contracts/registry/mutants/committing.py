"""Wrong about commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from waybill_contracts.registry.mutants.wrapping import Wrapped, mutant
from waybill_contracts.registry.trial import State, added, state_of
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.store import Change, ConfigSet, Moved, SchemaAdded, VersionErased, VersionSet

__all__: list[str] = []


@mutant(3, 15)
class TheLastOneWins(Wrapped):
    """It commits on whatever is there, also where somebody has committed since."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        while True:
            try:
                return await self.sound.commit(after, changes)
            except Moved:
                after = await self.sound.revision()


@mutant(4, 19)
class CommitsInParts(Wrapped):
    """It keeps one change before the next."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        for change in changes:
            after = await self.sound.commit(after, [change])
            await asyncio.sleep(0.001)
        return after


@mutant(2, 14)
class ConfirmsTooEarly(Wrapped):
    """It confirms a commit before it is kept."""

    async def open(self) -> None:
        await super().open()
        self.late: asyncio.Task[int] | None = None

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        if self.late is not None:
            await self.late
        self.late = asyncio.create_task(self.sound.commit(after, changes))
        return after + 1

    async def close(self) -> None:
        if self.late is not None:
            await asyncio.wait([self.late])
        await super().close()


@mutant(4, 10, 11, 12, 21)
class SwallowsRefusals(Wrapped):
    """What its database refuses it confirms."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        try:
            return await self.sound.commit(after, changes)
        except StoreError:
            return after + 1


@mutant(10)
class GivesAnIdTwice(Wrapped):
    """A schema under an id that stands already takes its place."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        standing = (await state_of(self.sound)).schemas
        new = [c for c in changes if not (isinstance(c, SchemaAdded) and (c.context, c.id) in standing)]
        return await self.sound.commit(after, new)


@mutant(10)
class KeepsATextTwice(Wrapped):
    """It does not mind one GUID under two ids."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        given = [
            SchemaAdded(context=c.context, id=c.id, guid=f"{c.guid}-{c.id}", references=c.references, schema=c.schema)
            if isinstance(c, SchemaAdded)
            else c
            for c in changes
        ]
        return await self.sound.commit(after, given)


@mutant(11)
class MakesUpSchemas(Wrapped):
    """A version without a schema gets an empty one."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        there = set(State().apply(changes).schemas) | set((await state_of(self.sound)).schemas)
        needed = {(c.context, c.id) for c in changes if isinstance(c, VersionSet)} - there
        made = [added(ident, context=context, guid=f"made-up-{ident}") for context, ident in needed]
        return await self.sound.commit(after, [*made, *changes])


@mutant(12)
class DoesNotLookAtReferences(Wrapped):
    """It keeps what a schema refers to as words."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        bare = [
            SchemaAdded(context=c.context, id=c.id, guid=c.guid, schema=c.schema) if isinstance(c, SchemaAdded) else c
            for c in changes
        ]
        return await self.sound.commit(after, bare)


@mutant(21)
class BreaksAtTheFirstRefusal(Wrapped):
    """After a commit that was refused it refuses everything."""

    broken = False

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        if self.broken:
            raise StoreError("the transaction was aborted")
        try:
            return await self.sound.commit(after, changes)
        except StoreError:
            self.broken = True
            raise


@mutant(22)
class TheFirstWordCounts(Wrapped):
    """Of two changes of one scope in a commit it keeps the first."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        scopes: set[str] = set()
        kept: list[Change] = []
        for change in changes:
            if isinstance(change, ConfigSet):
                if change.scope in scopes:
                    continue
                scopes.add(change.scope)
            kept.append(change)
        return await self.sound.commit(after, kept)


@mutant(22)
class ErasesLast(Wrapped):
    """It makes what is new before it takes away what is old."""

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        return await self.sound.commit(after, sorted(changes, key=lambda change: isinstance(change, VersionErased)))


@mutant(17)
class ReadersHoldItUp(Wrapped):
    """Nobody commits while somebody reads."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.lock = asyncio.Lock()

    async def changes(self, after: int) -> AsyncGenerator[tuple[int, Sequence[Change]]]:
        async with self.lock:
            async for found in self.sound.changes(after):
                yield found

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        async with self.lock:
            return await self.sound.commit(after, changes)
