"""Threads of an event loop, which stay once they are there: so they are there before others count."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

__all__ = ["begin_threads"]

NUMBER = 4


async def begin_threads() -> None:
    """Those that the libraries of brokers authenticate and read files in."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(NUMBER))
    together = threading.Barrier(NUMBER)
    await asyncio.gather(*(asyncio.to_thread(together.wait) for _ in range(NUMBER)))
