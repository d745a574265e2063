"""The ingester in a process of its own, so that it can be killed."""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from examples.discord.ingest import Ingester
from examples.discord.recording import play
from waybill import App

__all__ = ["KILLED", "Doomed", "run"]

FATAL = 10
"""The sequence number at which `Doomed` is."""
KILLED = -signal.SIGKILL


class Doomed(Ingester):
    """One that is killed at the worst moment: its events are on the bus, and it has not noted how far it is."""

    def note(self) -> None:
        if self.gateway.sequence == FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        super().note()


async def run(kind: type[Ingester], path: Path) -> int | None:
    """Play the recording from the note at `path` on. Returns the exit code: minus the signal, if one has ended it."""
    process = multiprocessing.get_context("spawn").Process(target=ingest, args=(kind, path))
    process.start()
    await asyncio.to_thread(process.join)
    return process.exitcode


def ingest(kind: type[Ingester], path: Path) -> None:
    logging.basicConfig(format="  ingester: %(message)s", stream=sys.stdout)
    logging.getLogger("examples.discord").setLevel(logging.INFO)
    asyncio.run(ingesting(kind(App("ingester"), path)))


async def ingesting(ingester: Ingester) -> None:
    async with ingester.app.running(consume=False):
        for payloads in play(ingester.gateway.sequence):
            await ingester.take(payloads)
