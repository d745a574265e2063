"""A worker of `waybill run`: `python -m waybill.cli.worker`, started by the supervisor and by nobody else."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waybill.app import App
from waybill.cli import report
from waybill.cli.application import describe_bus, open_app
from waybill.cli.run import configure_logging
from waybill.errors import BrokerFileError, ConfigurationError, WaybillError
from waybill.health import Status
from waybill.ops.folder import Folder
from waybill.ops.state import State
from waybill.serving import MARGIN, leave, serve
from waybill.supervisor import ORDER, WRONG

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = ["Beats", "Lifeline", "main", "stop_with", "told"]

log = logging.getLogger("waybill.worker")

LONGEST = 500
"""Characters of why it is so that the supervisor is told: what does not fit in the pipe at once is lost."""


class Lifeline:
    """Notices the end of the supervisor: the pipe that only it holds open ends. A thread, since the loop may be blocked."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.on_end: Callable[[], None] = lambda: leave(1)  # until the application runs there is nothing to wait for
        threading.Thread(target=self._watch, name="waybill-lifeline", daemon=True).start()

    def _watch(self) -> None:
        with suppress(OSError):
            os.read(self._fd, 1)
        self.on_end()


class Beats:
    """The way to tell the supervisor. Never blocks: a supervisor that does not listen must not hold up its workers."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self.ready = False

    def tell(self, **news: object) -> None:
        self.ready |= "ready" in news
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._fd, (json.dumps(news) if news else "").encode() + b"\n")


class Changes:
    """Tells the supervisor how the application is, when it has come to be so; and first which file says it to others."""

    def __init__(self, beats: Beats, status_dir: str | None) -> None:
        self._beats = beats
        self._folder = None if status_dir is None else Folder(Path(status_dir).absolute())
        self._last: dict[str, Status] = {}

    def tell(self, state: State) -> None:
        if self._folder is not None:
            self._beats.tell(file=str(self._folder.place(state)))
            self._folder = None
        if state.stage != "running":
            return
        now: dict[str, Status] = {part.name: part.status for part in state.parts if part.status is not Status.UP}
        if now != self._last:
            self._beats.tell(status=state.status.value, why="; ".join(state.reasons)[:LONGEST])
        self._last = now


def told() -> tuple[Any, Beats, Lifeline]:
    """What the supervisor wants of this process, and the two pipes to it. To be called once."""
    order = json.loads(os.environ.pop(ORDER))
    for fd in (order["beats"], order["lifeline"]):
        os.set_inheritable(fd, False)
    return order, Beats(order["beats"]), Lifeline(order["lifeline"])


def stop_with(lifeline: Lifeline, stop: asyncio.Event, grace: float) -> None:
    """Set `stop`, of the running loop, when the supervisor ends; end this process by force `grace` seconds later."""
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        log.warning("the supervisor is gone: shutting down")
        with suppress(RuntimeError):  # the loop has just ended
            loop.call_soon_threadsafe(stop.set)
        time.sleep(grace)  # then the loop is blocked, and nobody else is there to end this process
        leave(1)

    lifeline.on_end = orphaned


def main() -> int:
    """Import the application and serve it as the environment says. Returns the exit code."""
    order, beats, lifeline = told()
    try:
        app, settings = open_app(order["app"], url=order["url"], dev=order["dev"])
        if not app.registrations:
            raise ConfigurationError(
                f"{order['app']} has no handlers, so there is nothing to run: is it the right App?"
            )
        beats.tell(bus=describe_bus(app, settings, url=order["url"], dev=order["dev"]), grace=settings.shutdown_grace)
        configure_logging(settings)
        asyncio.run(_serve(app, settings, order["further"]["worker"], beats, lifeline))
    except WaybillError as error:
        code = report(error)
        # a file that cannot be used will not get better by starting again; one that breaks later may be mended meanwhile
        return WRONG if isinstance(error, BrokerFileError) and not beats.ready else code
    return 0


async def _serve(app: App, settings: Settings, worker: int, beats: Beats, lifeline: Lifeline) -> None:
    stop = asyncio.Event()
    stop_with(lifeline, stop, settings.shutdown_grace + MARGIN + 1.0)
    await serve(
        app,
        alive=beats.tell,
        ready=lambda: beats.tell(ready=True),
        stop=stop,
        supervised=True,
        worker=worker,
        on_state=Changes(beats, settings.status_dir).tell,
    )


if __name__ == "__main__":
    sys.exit(main())
