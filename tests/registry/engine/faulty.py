"""Stores that fail where they are told to, over a memory that does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.memory import Memory, MemoryStore
from waybill_schema_registry.stores.store import Change


class SlowStore(MemoryStore):
    """Every verb waits, as one over a network does. asked: how often its revision was."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.asked = 0
        self.commits = 0

    async def revision(self) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        found = await super().revision()
        for _ in range(5):  # longer than a commit takes: the answer may be an old one when it arrives
            await asyncio.sleep(0)
        return found

    async def changes(self, after: int) -> AsyncGenerator[tuple[int, Sequence[Change]], None]:
        async for found in super().changes(after):
            await asyncio.sleep(0)
            yield found

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        await asyncio.sleep(0)
        found = await super().schemas(context, ids)
        await asyncio.sleep(0)
        return found

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        self.commits += 1
        await asyncio.sleep(0)
        made = await super().commit(after, changes)
        await asyncio.sleep(0)
        return made


@dataclass
class Faults:
    """Which calls fail, by their numbers from 0: before anything was done, or after it was kept."""

    before: set[int] = field(default_factory=set)
    after: set[int] = field(default_factory=set)
    calls: int = 0


class FaultyStore(SlowStore):
    def __init__(self, memory: Memory, faults: Faults) -> None:
        super().__init__(memory)
        self.faults = faults

    async def _fault(self, what: str) -> bool:
        """Raise, or say whether to raise when it is done."""
        number = self.faults.calls
        self.faults.calls += 1
        if number in self.faults.before:
            raise StoreError(f"{what} failed")
        return number in self.faults.after

    async def revision(self) -> int:
        later = await self._fault("revision")
        return done(await super().revision(), later)

    async def changes(self, after: int) -> AsyncGenerator[tuple[int, Sequence[Change]], None]:
        later = await self._fault("changes")
        async for found in super().changes(after):
            yield found
            done(None, later)

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        later = await self._fault("schemas")
        return done(await super().schemas(context, ids), later)

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        later = await self._fault("commit")
        return done(await super().commit(after, changes), later)


Value = TypeVar("Value")


def done(value: Value, later: bool) -> Value:
    if later:
        raise StoreError("the answer was lost")
    return value
