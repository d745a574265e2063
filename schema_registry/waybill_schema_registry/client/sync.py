"""`SyncRegistry`: `Registry` for code that cannot await. There is no second implementation: each call runs on a loop of its own
thread."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from waybill_schema_registry.client.access import Access
from waybill_schema_registry.client.registry import Registry

__all__ = ["SyncRegistry"]

P = ParamSpec("P")
R = TypeVar("R")


def _waited(
    verb: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncRegistry, P], R]:
    """The verb of `Registry`, waited for."""

    def wait(self: SyncRegistry, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._wait(verb(self._registry, *args, **kwargs))

    wait.__name__, wait.__qualname__, wait.__doc__ = verb.__name__, f"SyncRegistry.{verb.__name__}", verb.__doc__
    return wait


class SyncRegistry:
    """`Registry` for code that is not asynchronous: the same arguments, verbs, results and errors, from any thread.

    `with` or `close` gives back what it holds; used again it starts anew, also in a process that was forked.
    """

    def __init__(self, url: str, access: Access | None = None) -> None:
        self._registry = Registry(url, access)
        self._lock = threading.Lock()
        self._thread: Thread | None = None

    @property
    def url(self) -> str:
        """Without its password: for people."""
        return self._registry.url

    register_schema = _waited(Registry.register_schema)
    lookup_schema = _waited(Registry.lookup_schema)
    get_schema = _waited(Registry.get_schema)
    get_schema_by_guid = _waited(Registry.get_schema_by_guid)
    get_subjects = _waited(Registry.get_subjects)
    get_versions = _waited(Registry.get_versions)
    get_version = _waited(Registry.get_version)
    get_latest_version = _waited(Registry.get_latest_version)
    delete_subject = _waited(Registry.delete_subject)
    delete_version = _waited(Registry.delete_version)
    test_compatibility = _waited(Registry.test_compatibility)
    get_compatibility = _waited(Registry.get_compatibility)
    set_compatibility = _waited(Registry.set_compatibility)
    get_config = _waited(Registry.get_config)
    set_config = _waited(Registry.set_config)
    delete_config = _waited(Registry.delete_config)
    get_mode = _waited(Registry.get_mode)
    set_mode = _waited(Registry.set_mode)
    delete_mode = _waited(Registry.delete_mode)

    def close(self) -> None:
        """Twice is the same as once."""
        with self._lock:
            thread, self._thread = self._thread, None
        atexit.unregister(self.close)
        if thread is not None and thread.here:
            thread.call(self._registry.aclose())
            thread.end()

    def _wait(self, call: Coroutine[Any, Any, R]) -> R:
        with self._lock:
            if self._thread is None or not self._thread.here:
                self._thread = Thread()
                atexit.register(self.close)
            thread = self._thread
        return thread.call(call)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SyncRegistry({self.url!r})"


class Thread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="waybill registry", daemon=True)
        self._process = os.getpid()
        self._thread.start()
        self._loop = started.result()

    @property
    def here(self) -> bool:
        """Whether it is in this process: a thread does not come along into a fork."""
        return self._process == os.getpid() and self._thread.is_alive()

    def call(self, call: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        asyncio.run(self._main(started))

    async def _main(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        self._stopped = asyncio.Event()
        started.set_result(asyncio.get_running_loop())
        await self._stopped.wait()
