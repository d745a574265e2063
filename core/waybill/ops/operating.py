"""One process and its operators: what it tells them while it runs, and what they order of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from waybill.app import App
from waybill.ops.folder import Folder
from waybill.ops.obeying import Obeying
from waybill.ops.state import Process, State

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = ["operated"]

log = logging.getLogger("waybill.ops")

EVERY = 1.0
"""Seconds between two words in the folder, and between two looks at what is ordered there."""


@asynccontextmanager
async def operated(
    app: App, settings: Settings, *, worker: int = 0, on_state: Callable[[State], None] | None = None
) -> AsyncGenerator[None, None]:
    """For as long as the block lasts `app`, which runs in it, is known to operators as `Settings.ops` and
    `Settings.status_dir` say. `waybill run` does this by itself.

    worker: this process's number under a supervisor. on_state: told every second how it is. Raises `ConfigurationError`.
    """
    process = Process(app, worker=worker, version=settings.version)
    folder = None if settings.status_dir is None else Folder(Path(settings.status_dir))
    obeying = Obeying(app, folder)
    async with AsyncExitStack() as stack:
        if settings.ops is not None:
            await stack.enter_async_context(_over_http(process, settings.ops, worker, obeying))
        if folder is not None or on_state is not None:
            await stack.enter_async_context(_telling(_Telling(process, folder, obeying, on_state)))
        yield


def _over_http(process: Process, where: str, worker: int, obeying: Obeying) -> AbstractAsyncContextManager[None]:
    # starlette and uvicorn are for those who want them
    from waybill.ops.asgi import operations  # noqa: PLC0415
    from waybill.ops.listening import address, listening  # noqa: PLC0415

    def on_url(url: str | None) -> None:
        process.ops = url

    host, port = address(where, worker)
    asgi = operations(process.app, process=process, obeying=obeying)
    return listening(asgi, host, port, on_url)


@asynccontextmanager
async def _telling(telling: _Telling) -> AsyncGenerator[None, None]:
    telling.once()
    task = asyncio.create_task(telling.again(), name="waybill-status")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        telling.end()


class _Telling:
    """Writes and reads on the event loop: a file that cannot be written soon belongs on another file system."""

    def __init__(
        self, process: Process, folder: Folder | None, obeying: Obeying, on_state: Callable[[State], None] | None
    ) -> None:
        self._process = process
        self._folder = folder
        self._obeying = obeying
        self._on_state = on_state
        self._trouble = ""
        if folder is not None:
            with suppress(OSError):
                folder.tidy()

    async def again(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                self.once()
            except Exception as error:  # noqa: BLE001 - told; what consumes must not end for it
                self._note(f"{error!r}", error)

    def once(self) -> None:
        if self._folder is not None:
            self._share(self._folder)
        if self._on_state is not None:
            self._on_state(self._process.state())

    def _share(self, folder: Folder) -> None:
        trouble, bug = "", None
        # Whoever leaves an order that cannot be read makes no process look dead.
        for work in (self._obeying.look, lambda: folder.write(self._process.state())):
            try:
                work()
            except OSError as error:
                trouble = f"{folder.path} cannot be used: {error.strerror or error}"
            except Exception as error:  # noqa: BLE001 - told; neither keeps the other from being done
                trouble, bug = f"{error!r}", error
        self._note(trouble, bug)

    def _note(self, trouble: str, bug: Exception | None = None) -> None:
        if trouble and trouble != self._trouble:
            log.warning("operators are not told how this process is: %s", trouble, exc_info=bug)
        self._trouble = trouble

    def end(self) -> None:
        if self._folder is not None:
            with suppress(OSError):
                self._folder.remove(self._process.state())
