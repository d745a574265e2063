"""Plain functions as handlers: each call in a thread, counted in the same concurrency as any other handler.

A thread cannot be cancelled. When its time is over, or the application stops, the call is waited for all the same: its
message stays held and its lease renewed, so that nobody else handles it meanwhile. What it returns in the end counts. A
call that never ends makes the process unhealthy (`Consumer.hung`), and the supervisor replaces it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

__all__ = ["in_threads"]


def in_threads(handler: Callable[..., Any], name: str) -> Callable[..., Coroutine[Any, Any, None]]:
    """`handler` as a coroutine function. Its threads are started at need and end with the process."""
    pool = ThreadPoolExecutor(max_workers=MANY, thread_name_prefix=f"waybill {name}")

    async def call(*arguments: Any) -> None:
        context = copy_context()
        running = asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(handler, *arguments))
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError as error:
                cancelled = error  # asked to end, and cannot: see above
            except Exception:  # noqa: BLE001 - raised below, where it is looked at
                break
        if cancelled is not None and running.exception() is not None:
            raise cancelled from running.exception()
        running.result()

    return call


MANY = 1 << 10
"""More threads than any concurrency needs: the consumer bounds them, which may change while it runs."""
