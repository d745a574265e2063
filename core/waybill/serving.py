"""A process that consumes until it is told to end.

The first SIGTERM or SIGINT ends it in order: fetch no more, let handlers finish, give back the rest, settle, close.
A second one ends it at once; nothing is lost by that, since the broker gives the leases to others.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from waybill.ops.operating import operated
from waybill.ops.state import State

if TYPE_CHECKING:
    from waybill.app import App

__all__ = ["BEAT", "MARGIN", "SAME", "leave", "serve"]

log = logging.getLogger("waybill.serving")

BEAT = 0.5
"""Seconds between two signs of life."""
MARGIN = 5.0
"""Seconds beyond `shutdown_grace` until a process that does not come to an end is ended all the same."""
SAME = 0.1
"""Seconds within which two signals are one: `timeout`, for instance, sends each to the process and to its group."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(
    app: App,
    *,
    alive: Callable[[], None] | None = None,
    ready: Callable[[], None] | None = None,
    stop: asyncio.Event | None = None,
    supervised: bool = False,
    worker: int = 0,
    on_state: Callable[[State], None] | None = None,
) -> None:
    """Run `app` until SIGTERM or SIGINT, then shut down in order; a second signal leaves at once, with code 128 + signal.

    Told to end while it is still connecting, it gives that up. What has not ended `MARGIN` seconds after the settings'
    `shutdown_grace` is given up, and the process leaves with code 1; so it does for tasks that handlers have left running
    and that do not end when they are cancelled. A handler that stops the event loop ends the process as a crash would:
    what it held is handed out again, and a message that does it again and again becomes a dead letter.

    alive: called every `BEAT` seconds while the event loop turns, also while the application starts and stops.
    ready: called once, when the application consumes. stop: setting it does what a first signal does.
    supervised: a supervisor passes signals on. SIGTERM then shuts down in order, however often it comes, since service
    managers send it to every process by themselves; SIGINT leaves at once. worker: its number there.
    on_state: told every second how it is.

    Operators are answered meanwhile as the settings say: `ops`, `status_dir`.
    Must run in the main thread, where signals arrive, and as the program's only task: others are cancelled at the end.
    Raises what `App.running` raises.
    """
    from waybill.settings import load  # noqa: PLC0415 - pydantic-settings is slow to import

    settings = app.settings or load()
    stop = asyncio.Event() if stop is None else stop
    heart = None if alive is None else asyncio.create_task(_beat(app, alive), name="waybill-heartbeat")
    try:
        with _signals(stop, supervised=supervised):
            try:
                async with operated(app, settings, worker=worker, on_state=on_state):
                    await _consume(app, stop, settings.shutdown_grace, ready)
            finally:
                await _end_others(app, asyncio.all_tasks() - {heart, asyncio.current_task()})
    finally:
        if heart is not None:
            heart.cancel()


async def _consume(app: App, stop: asyncio.Event, grace: float, ready: Callable[[], None] | None) -> None:
    started = False

    async def consume() -> None:
        nonlocal started
        with _telling(app):
            async with app.running():
                started = True
                if ready is not None:
                    ready()
                await stop.wait()

    running = asyncio.create_task(consume(), name="waybill-application")
    stopping = asyncio.create_task(stop.wait(), name="waybill-stopping")
    cancelled = 0
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not started:
            cancelled += running.cancel()
        await asyncio.wait({running}, timeout=grace + MARGIN)
        if not running.done():
            log.critical("%s: not ended %g s after it was told to: leaving", app.name, grace + MARGIN)
            leave(1)
        if not running.cancelled():
            running.result()
    except asyncio.CancelledError:
        if running.cancelling() > cancelled:  # all tasks are: to go on in order would blame all that runs, or nothing
            log.critical("%s: something has stopped the event loop (sys.exit in a task?): leaving", app.name)
            leave(1)
        raise
    finally:
        stopping.cancel()
        running.cancel()
        await asyncio.wait({running, stopping})


def _telling(app: App) -> AbstractContextManager[None]:
    """Where the settings name an index of dead letters, it is told what becomes of those that were redriven."""
    from waybill.settings import load  # noqa: PLC0415 - pydantic-settings is slow to import

    path = (app.settings or load()).dlq
    if path is None:
        return nullcontext()
    from waybill.dlq.telling import telling  # noqa: PLC0415 - most have none

    return telling(app, path)


async def _end_others(app: App, tasks: set[asyncio.Task[Any]]) -> None:
    """As `asyncio.run` would, but not waiting without an end: cancel the tasks that are left, then wait for threads."""
    for task in tasks:
        task.cancel()
    if tasks and (stuck := (await asyncio.wait(tasks, timeout=MARGIN))[1]):
        log.critical("%s: %d tasks do not end though cancelled: leaving", app.name, len(stuck))
        leave(1)
    threads = asyncio.create_task(asyncio.get_running_loop().shutdown_default_executor())
    if (await asyncio.wait({threads}, timeout=MARGIN))[1]:
        log.critical("%s: a thread of asyncio.to_thread does not end: leaving", app.name)
        leave(1)


async def _beat(app: App, alive: Callable[[], None]) -> None:
    """Signs of life, unless a handler is stuck that nothing can end: then the process had better be replaced."""
    while True:
        runtime = app._runtime
        if runtime is None or not any(consumer.hung for consumer in runtime.consumers):
            alive()
        await asyncio.sleep(BEAT)


@contextmanager
def _signals(stop: asyncio.Event, *, supervised: bool) -> Generator[None]:
    """Python's own handlers instead of the loop's: the second signal must end the process even if the loop is blocked."""
    loop = asyncio.get_running_loop()
    since: float | None = None

    def first(why: str) -> None:
        log.info("%s: shutting down", why)
        stop.set()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal since
        now = time.monotonic()
        if number == signal.SIGINT if supervised else since is not None and now - since > SAME:
            leave(128 + number)
        if since is None:
            since = now
            # a supervisor passes on Ctrl-C as SIGTERM, and has said what it was
            loop.call_soon_threadsafe(first, "told to end" if supervised else signal.Signals(number).name)

    previous = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def leave(code: int) -> NoReturn:
    """End this process now. Logs are flushed, unless that takes longer than a second: whoever reads them may hang."""
    flushing = threading.Thread(target=_flush, name="waybill-flush", daemon=True)
    flushing.start()
    flushing.join(1.0)
    os._exit(code)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
