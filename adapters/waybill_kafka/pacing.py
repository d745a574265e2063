"""Connecting again, and asking again who leads what, with pauses.

The library tries each of its connections anew every 100 ms, for as long as it must; and while a leader is not known, because
nobody can be connected to or the topic is gone, it asks for it again as soon as the answer is there.
"""

from __future__ import annotations

import asyncio
from typing import Any

from waybill.settling import back_off

__all__ = ["Pace"]

MOST = 2.0
"""Seconds between two attempts, at most."""
LEAST = 0.1
"""Seconds between two questions who leads what, when there were several of them in a row."""
IN_A_ROW = 5
NEXT = 1.0
"""Seconds after which a question is no longer in a row with the one before."""


class Pace:
    """Of all clients of one adapter: while a server cannot be connected to, one of them tries at a time, for all."""

    def __init__(self) -> None:
        self._failures: dict[Any, int] = {}
        self._until: dict[Any, float] = {}
        self._trying: set[Any] = set()

    def keep(self, inner: Any) -> None:
        """Have the library's `AIOKafkaClient` connect at this pace."""
        given = inner._get_conn

        async def connect(node: Any, **options: Any) -> Any:
            found = inner._conns.get((node, options.get("group", 0)))
            if found is not None and found.connected():
                return found
            if not self._may(node):
                return None  # as after an attempt in vain
            return await self._attempt(node, given(node, **options))

        inner._get_conn = connect
        self._keep_asking(inner)

    def _keep_asking(self, inner: Any) -> None:
        """Have the library's `AIOKafkaClient` refresh what it knows of the cluster at this pace."""
        given = inner._metadata_update
        time = asyncio.get_running_loop().time
        last, row = 0.0, 0

        async def update(cluster: Any, topics: Any) -> bool:
            nonlocal last, row
            row = row + 1 if time() - last < NEXT else 0
            if row > IN_A_ROW:
                await asyncio.sleep(LEAST)
            last = time()
            updated: bool = await given(cluster, topics)
            if not updated:
                await asyncio.sleep(max(LEAST, min(self._until.values(), default=0.0) - time()))
            return updated

        inner._metadata_update = update

    def _may(self, node: Any) -> bool:
        if node not in self._failures:
            return True
        return node not in self._trying and asyncio.get_running_loop().time() >= self._until[node]

    async def _attempt(self, node: Any, connecting: Any) -> Any:
        self._trying.add(node)
        try:
            made = await connecting
        finally:
            self._trying.discard(node)
        if made is None:
            failures = self._failures[node] = self._failures.get(node, 0) + 1
            self._until[node] = asyncio.get_running_loop().time() + back_off(failures, cap=MOST)
        else:
            self._failures.pop(node, None)
            self._until.pop(node, None)
        return made
