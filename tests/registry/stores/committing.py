"""A process that takes ids until it is killed: `python -m tests.registry.stores.committing URL`. Prints each that was confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from waybill_contracts.registry.trial import added, version
from waybill_schema_registry.stores.opening import open_store
from waybill_schema_registry.stores.store import Moved, SchemaAdded


async def commit(url: str) -> None:
    store = open_store(url)
    await store.open()
    read = highest = 0
    while True:
        async for revision, changes in store.changes(read):
            read = revision
            highest = max(highest, *(change.id for change in changes if isinstance(change, SchemaAdded)))
        with contextlib.suppress(Moved):
            await store.commit(read, [added(highest + 1), version(f"s{highest % 5}", highest + 1, highest + 1)])
            print(highest + 1, flush=True)


if __name__ == "__main__":
    asyncio.run(commit(sys.argv[1]))
