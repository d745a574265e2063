"""`App.sync`: publishing from code that is not asynchronous: plain handlers, scripts, Django views, threads.

    with app.sync.running():                  # a script
        app.sync.publish(orders, OrderPlaced("o1", "c1"))

    @app.consume(orders)                      # a plain handler: the application runs already
    def charge(order: OrderPlaced) -> None:
        app.sync.publish(invoices, Invoice(order.order_id))

    def view(request):                        # a web application: started at the first publish, ended with the process
        app.sync.publish(orders, OrderPlaced("o2", "c1"))

There is no second implementation: each call runs on the application's own event loop, in another thread if need be.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine, Generator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from waybill.errors import ConfigurationError
from waybill.message import Delivery
from waybill.outcomes import Confirmed, SendResult
from waybill.topic import Topic

if TYPE_CHECKING:
    from waybill.app import App

__all__ = ["SyncApp"]

T = TypeVar("T")
R = TypeVar("R")


class SyncApp:
    """The application, for code that cannot await. Made by `App.sync`; safe to use from any thread."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._background: Background | None = None
        self._watching_forks = False

    def publish(
        self,
        topic: Topic[T],
        value: T,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float | timedelta | None = None,
        expires: float | timedelta | None = None,
        deadline: float | timedelta | None = None,
        cause: Delivery[Any] | None = None,
    ) -> Confirmed:
        """`App.publish`, waited for. The same options, result and errors."""
        return self._wait(
            self._app.publish(
                topic, value, key=key, headers=headers, delay=delay, expires=expires, deadline=deadline, cause=cause
            )
        )

    def publish_many(
        self,
        topic: Topic[T],
        values: Iterable[T],
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float | timedelta | None = None,
    ) -> list[SendResult]:
        """`App.publish_many`, waited for. `values` is read in the application's thread."""
        return self._wait(self._app.publish_many(topic, values, headers=headers, deadline=deadline))

    @contextmanager
    def running(self) -> Generator[App]:
        """Connect for the length of the block, to publish only. Raises what `App.running` raises."""
        background = Background(self._app)
        background.start()
        try:
            yield self._app
        finally:
            background.stop()

    def _wait(self, call: Coroutine[Any, Any, R]) -> R:
        try:
            loop = self._loop()
        except BaseException:
            call.close()
            raise
        return asyncio.run_coroutine_threadsafe(call, loop).result()

    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop the application runs on; it is started in a thread of its own if it does not run yet."""
        runtime = self._app._runtime
        if runtime is None:
            with self._lock:
                if self._background is None or not self._background.here:
                    self._background = Background(self._app)
                    self._background.start()
                    atexit.register(self._background.stop)
                    self._watch_forks()
            runtime = self._app._running()
        if runtime.process != os.getpid():
            raise ConfigurationError(
                f"application {self._app.name!r} was running when this process was forked, and its connection stayed with "
                f"the parent: fork outside of `running()`"
            )
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is runtime.loop:
            raise ConfigurationError(
                "app.sync would wait for the very thread it is called in: this is asynchronous code, so "
                "`await app.publish(…)` instead"
            )
        return runtime.loop

    def _watch_forks(self) -> None:
        """Neither a thread nor a connection may come along into a fork: what runs by itself is stopped before each, and
        starts anew at the next publish, in the parent and in the child."""
        if not self._watching_forks and hasattr(os, "register_at_fork"):
            self._watching_forks = True
            release = self._lock.release
            os.register_at_fork(before=self._stop_before_fork, after_in_parent=release, after_in_child=release)

    def _stop_before_fork(self) -> None:
        self._lock.acquire()
        if self._background is not None:
            self._background.stop()


class Background:
    """An application that runs in a thread of its own, to publish."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=f"waybill {app.name}", daemon=True)
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def here(self) -> bool:
        """Whether its thread is in this process: it does not come along into a fork."""
        return self._process == os.getpid() and self._thread.is_alive()

    def start(self) -> None:
        """Returns when it runs. Raises what `App.running` raises."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Returns when all that was published is decided and the connection closed. Twice is the same as once."""
        if self.here and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - it belongs to the thread that waits
            if not self._started.done():
                self._started.set_exception(error)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._app.running(consume=False):
            self._started.set_result(None)
            await self._stop.wait()
