"""The catalog follows the store: it learns what was committed, by whomever, before it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from waybill_schema_registry.engine.catalog import Catalog
from waybill_schema_registry.stores.store import Change, Store

__all__ = ["Follower"]


class Follower:
    """catalog: replaced by a new one where the store was put back to an older state."""

    def __init__(self, store: Store) -> None:
        self.catalog = Catalog()
        self._store = store
        self._asking = False
        self._reading = False
        self._next: asyncio.Future[None] | None = None
        self._rounds: set[asyncio.Task[None]] = set()

    async def refresh(self) -> None:
        """Learn all that was committed before this was called.

        A question that is under way may have been answered before; so who comes meanwhile waits for the next one, and all
        who wait share it. A store that answers without waiting costs a call.
        """
        if self._asking:
            if self._next is None:
                self._next = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._next)
            return
        self._asking = True
        try:
            await self._catch_up()
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        self._asking = False
        if self._next is not None:
            self._asking = True
            waiting, self._next = self._next, None
            task = asyncio.get_running_loop().create_task(self._round(waiting))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)

    async def _round(self, waiting: asyncio.Future[None]) -> None:
        try:
            await self._catch_up()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            waiting.set_exception(error)
            waiting.exception()  # nobody may be waiting any more, and that is no failure
        else:
            waiting.set_result(None)
        finally:
            if not waiting.done():
                waiting.cancel()
            self._hand_over()

    async def _catch_up(self) -> None:
        known = self.catalog.revision
        revision = await self._store.revision()
        if revision < known:
            self.catalog = Catalog()
        # It may have moved on while the store was asked, by what was committed here.
        if revision <= self.catalog.revision:
            return
        self._reading = True
        try:
            async with aclosing(self._store.changes(self.catalog.revision)) as changes:
                async for reached, some in changes:
                    self.catalog.apply(reached, some)
        finally:
            self._reading = False

    def committed(self, after: int, revision: int, changes: Sequence[Change]) -> bool:
        """Take over what was committed here; False if it must be read from the store, for the catalog has moved on, or is
        being read."""
        if self._reading or self.catalog.revision != after:
            return self.catalog.revision >= revision
        self.catalog.apply(revision, changes)
        return True

    async def end(self) -> None:
        """Wait for what is under way."""
        while self._rounds:
            await asyncio.gather(*self._rounds, return_exceptions=True)
