"""Plain functions as handlers: each call in a thread, counted in the same concurrency as any other handler.

A thread cannot be cancelled. When its time is over, or the application stops, the call is waited for all the same: its
message stays held and its lease renewed, so that nobody else handles it meanwhile. What it returns in the end counts. A
call that never ends makes the process unhealthy (`Consumer.hung`), and the supervisor replaces it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

__all__ = ["in_threads"]


def in_threads(handler: Callable[..., Any], name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    """`handler` as a coroutine function. Its threads are started at need and end with the process."""
    pool = ThreadPoolExecutor(max_workers=MANY, thread_name_prefix=f"waybill {name}")

    async def call(*arguments: Any) -> Any:
        context = copy_context()
        running = asyncio.get_running_loop().run_in_executor(pool, _run, context, handler, arguments)
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error  # asked to end, and cannot: see above
        if cancelled is not None and running.exception() is not None:
            raise cancelled from running.exception()
        return running.result()

    return call


def _run(context: Context, handler: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return context.run(handler, *arguments)
    except StopIteration as error:  # no future can carry it: whoever waits would wait for ever
        raise RuntimeError("the handler raised StopIteration") from error  # as a coroutine does


MANY = 1 << 10
"""More threads than any concurrency needs: the consumer bounds them, which may change while it runs."""
