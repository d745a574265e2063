"""One of several processes that serve a registry: started by the supervisor of `waybill registry serve --workers`."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import uvloop

from waybill.cli import report
from waybill.cli.run import configure_logging
from waybill.cli.worker import Beats, Lifeline, stop_with, told
from waybill.errors import WaybillError
from waybill.serving import BEAT, MARGIN
from waybill_schema_registry.server.serving import GRACE, Serving, listener, serve

__all__ = ["main"]


def main() -> int:
    """Serve as the environment says. Returns the exit code."""
    order, beats, lifeline = told()
    serving = msgspec.convert(order["further"], Serving)
    configure_logging()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(serving, beats, lifeline))
    except WaybillError as error:
        return report(error)
    return 0


async def _serve(serving: Serving, beats: Beats, lifeline: Lifeline) -> None:
    stop = asyncio.Event()
    stop_with(lifeline, stop, GRACE + MARGIN)
    beating = asyncio.create_task(_beat(beats))
    try:
        listening = listener(serving.host, serving.port, shared=True)
        beats.tell(grace=float(GRACE))
        await serve(serving, listening, lambda: beats.tell(ready=True), stop)
    finally:
        beating.cancel()


async def _beat(beats: Beats) -> None:
    while True:
        beats.tell()
        await asyncio.sleep(BEAT)


if __name__ == "__main__":
    sys.exit(main())
