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
from typing import Any

from waybill.app import App
from waybill.cli import report
from waybill.cli.application import describe_bus, open_app
from waybill.cli.run import configure_logging
from waybill.errors import BrokerFileError, ConfigurationError, WaybillError
from waybill.serving import MARGIN, leave, serve
from waybill.supervisor import ORDER, WRONG

__all__ = ["Beats", "Lifeline", "main", "stop_with", "told"]

log = logging.getLogger("waybill.worker")


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
        configure_logging()
        asyncio.run(_serve(app, settings.shutdown_grace, beats, lifeline))
    except WaybillError as error:
        code = report(error)
        # a file that cannot be used will not get better by starting again; one that breaks later may be mended meanwhile
        return WRONG if isinstance(error, BrokerFileError) and not beats.ready else code
    return 0


async def _serve(app: App, grace: float, beats: Beats, lifeline: Lifeline) -> None:
    stop = asyncio.Event()
    stop_with(lifeline, stop, grace + MARGIN + 1.0)
    await serve(app, alive=beats.tell, ready=lambda: beats.tell(ready=True), stop=stop, supervised=True)


if __name__ == "__main__":
    sys.exit(main())
