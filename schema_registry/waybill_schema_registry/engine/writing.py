"""Writes, one commit at a time: those that come while one is under way are decided one after another on what will be then,
and committed together. One that is refused does not touch the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from waybill_schema_registry.engine.catalog import Catalog, Draft
from waybill_schema_registry.engine.following import Follower
from waybill_schema_registry.engine.library import TextKey
from waybill_schema_registry.engine.view import View
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.store import Change, Moved, Store

__all__ = ["Decide", "Look", "Writer"]

Answer = TypeVar("Answer")

Decide: TypeAlias = Callable[[View], tuple[Sequence[Change], Answer]]
"""What is to be committed, and what is answered then. It looks at nothing but the view, and may be asked again."""

Look: TypeAlias = Callable[[Catalog, Mapping[TextKey, Schema]], View]

TOGETHER = 256
"""Writes in one commit at most."""
BUSY = 0.02
"""Seconds of deciding after which the rest waits for the next commit, and the event loop has its turn."""


class Write:
    """One that waits. `changes` and `outcome` are what came of it on the draft."""

    __slots__ = ("answered", "at_hand", "changes", "decide", "error", "outcome")

    def __init__(self, decide: Decide[Any], at_hand: Mapping[TextKey, Schema], answered: asyncio.Future[Any]) -> None:
        self.decide = decide
        self.at_hand = at_hand
        self.answered = answered
        self.changes: Sequence[Change] = ()
        self.outcome: Any = None
        self.error: Exception | None = None

    def draft(self, look: Look, draft: Draft) -> None:
        self.changes, self.outcome, self.error = (), None, None
        try:
            self.changes, self.outcome = self.decide(look(draft, self.at_hand))
        except Exception as error:  # noqa: BLE001 - it is raised where the write was asked for
            self.error = error
        draft.add(self.changes)

    def answer(self) -> None:
        if self.answered.done():
            return
        if self.error is not None:
            self.answered.set_exception(self.error)
        else:
            self.answered.set_result(self.outcome)

    def fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


class Writer:
    def __init__(self, store: Store, follower: Follower, look: Look, keep: Callable[[Draft], None]) -> None:
        """keep: what to do with a draft that was committed."""
        self._store = store
        self._follower = follower
        self._look = look
        self._keep = keep
        self._waiting: list[Write] = []
        self._running: asyncio.Task[None] | None = None

    async def write(self, decide: Decide[Answer], at_hand: Mapping[TextKey, Schema]) -> Answer:
        """What was decided, once it is kept. Raises what `decide` raises, and `StoreError`. Who no longer waits is not written
        for, unless it is under way already."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(Write(decide, at_hand, answered))
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        return await answered

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                try:
                    await self._commit(batch)
                except Exception as error:  # noqa: BLE001 - each is told
                    for write in batch:
                        write.fail(error)
        finally:
            self._running = None

    async def _commit(self, batch: list[Write]) -> None:
        while batch := [write for write in batch if not write.answered.done()]:
            await self._follower.refresh()
            draft = Draft(self._follower.catalog)
            batch = self._decide(draft, batch)
            try:
                await self._keep_draft(draft)
            except Moved:
                continue
            except StoreError as error:
                # Whether it was kept is not known. Who wanted to change something is told so; the others saw what may not
                # be, and are decided anew on what then stands there.
                for write in batch:
                    if write.changes:
                        write.fail(error)
                continue
            for write in batch:
                write.answer()

    def _decide(self, draft: Draft, batch: list[Write]) -> list[Write]:
        """Those that were decided; the others wait first in line."""
        end = time.monotonic() + BUSY
        for number, write in enumerate(batch, 1):
            write.draft(self._look, draft)
            if time.monotonic() > end:
                self._waiting[:0] = batch[number:]
                return batch[:number]
        return batch

    async def _keep_draft(self, draft: Draft) -> None:
        if not draft.changes:
            return
        after = draft.revision - 1
        revision = await self._store.commit(after, draft.changes)
        self._keep(draft)
        if not self._follower.committed(after, revision, draft.changes):
            await self._follow()

    async def _follow(self) -> None:
        try:
            await self._follower.refresh()
        except StoreError:
            # It is kept; the catalog learns of it when the store answers again.
            return

    async def end(self) -> None:
        """Wait until all is written."""
        while self._running is not None:
            await asyncio.wait([self._running])
