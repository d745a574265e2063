"""`waybill run --reload`: workers that are ended in order and started anew whenever a source file changes.

Watched are the working directory and what else Python imports from, but for installed packages. Needs the extra `reload`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio import Task
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from watchfiles import PythonFilter, awatch  # pyright: ignore[reportUnknownVariableType] - it names trio's types

from waybill.errors import WaybillError
from waybill.settings import FILE
from waybill.supervisor import Orders, Supervisor, signals

__all__ = ["Reloader", "roots"]

GATHER = 300
"""Milliseconds within which changes are one: a checkout, a formatter."""


class Reloader:
    """Supervised workers, until it is told to end. `say` is given one line an event."""

    def __init__(self, orders: Orders, say: Callable[[str], None]) -> None:
        self._orders = replace(orders, edited=True)
        self._say = say
        self._supervisor: Supervisor | None = None
        self._ended = asyncio.Event()

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns what `Supervisor.run` returns; 0 when it is told while nothing runs.

        What cannot be imported is told, and the next change waited for. Raises `WaybillError` if files cannot be watched.
        """
        with signals(self._on_signal):
            async with aclosing(changes(roots(sys.path))) as changed:
                while True:
                    change = asyncio.create_task(_next(changed), name="waybill-reload")
                    try:
                        code = await self._run_until(change)
                    finally:
                        change.cancel()  # nothing happens to one that is done
                        await asyncio.wait({change})
                    if code is not None:
                        return code
                    change.result()  # raises if files can be watched no longer

    async def _run_until(self, change: Task[str]) -> int | None:
        """Run workers until a file changes, and end them. The exit code if they were told to end; else `None`."""
        self._supervisor = supervisor = Supervisor(self._orders, self._say)
        running = asyncio.create_task(supervisor.supervise(), name="waybill-supervisor")
        await asyncio.wait({running, change}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            self._tell(change)
            supervisor.stop()
        code = await running
        self._supervisor = None
        if supervisor.told:
            return code
        if not change.done():
            self._say("nothing runs: waiting for a file to change")
            ended = asyncio.create_task(self._ended.wait())
            await asyncio.wait({change, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if self._ended.is_set():
                return 0
            self._tell(change)
        return None

    def _tell(self, change: Task[str]) -> None:
        if change.exception() is None:
            self._say(f"{change.result()}: starting anew")

    def _on_signal(self, number: int) -> None:
        if self._supervisor is not None:
            self._supervisor.on_signal(number)
        else:
            self._ended.set()


async def changes(folders: Iterable[Path]) -> AsyncGenerator[str]:
    """Which files have changed, for people. Nothing is missed between two of them. Raises `WaybillError`."""
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    sources = PythonFilter(extra_extensions=[f"{os.sep}{FILE}"])
    try:
        async for found in awatch(*folders, watch_filter=sources, debounce=GATHER):
            first, *others = sorted({_shown(path) for _, path in found})
            yield f"{first}{f' and {len(others)} more' if others else ''} changed"
    except (OSError, RuntimeError) as error:
        raise WaybillError(
            f"files cannot be watched: {error}. With WATCHFILES_FORCE_POLLING=1 they are looked at again and again instead"
        ) from error


async def _next(changed: AsyncGenerator[str]) -> str:
    return await anext(changed)


def roots(search: Iterable[str]) -> list[Path]:
    """The folders to watch: the working directory, and those of `search` that hold no installed packages."""
    found = {Path(folder or ".").resolve() for folder in (".", *search) if Path(folder or ".").is_dir()}
    installed = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    here = Path.cwd().resolve()
    sources = {
        folder
        for folder in found
        if folder == here
        or not ("site-packages" in folder.parts or any(folder.is_relative_to(prefix) for prefix in installed))
    }
    return sorted(folder for folder in sources if not any(other in folder.parents for other in sources))


def _shown(path: str) -> str:
    return os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path  # noqa: PTH109 - texts
