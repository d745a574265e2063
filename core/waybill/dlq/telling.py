"""What tells the index which redriven messages were handled, and which are dead letters again: in the consumer's process.

Without it an operation's letters are resolved once nothing lies before their group, where the broker can say so. Of one
that cannot tell what waits for a retry they stay pending until somebody settles the operation (`settling`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from waybill.dlq.index import Index
from waybill.dlq.operations import Operations, Told
from waybill.errors import WaybillError
from waybill.instruments import Instrument
from waybill.observing import Handled
from waybill.outcomes import Ack, DeadLetter, Done

if TYPE_CHECKING:
    from waybill.app import App

__all__ = ["Tells", "telling"]

log = logging.getLogger("waybill.dlq.telling")

LINGER = 0.2
"""Seconds that one waits for others to be told with, …"""
RETRY = 5.0
"""… and that an index which cannot be written to is left alone."""
MOST = 10_000
"""Kept while the index cannot be written to; of more, the oldest are forgotten, as if nobody had told."""


class Tells(Instrument):
    """`App(…, instruments=[Tells("waybill-dlq.db")])`: for who does not use `waybill run`, which does it by itself where the
    setting `dlq` names the index."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._told: list[Told] = []
        self._stack = ExitStack()
        self._operations: Operations | None = None
        self._writing: asyncio.Task[None] | None = None

    @property
    def on_handled(self) -> bool:
        return True

    def handled(self, handled: Handled) -> None:
        message, settlement = handled.delivery.message, handled.settlement
        if message.redrive is None or self._operations is None or not isinstance(handled.result, Done):
            return
        if isinstance(settlement, Ack):
            self._told.append(Told(message.redrive, message.id, handled=True, fingerprint=""))
        elif isinstance(settlement, DeadLetter):
            fingerprint = settlement.record.fingerprint
            self._told.append(Told(message.redrive, message.id, handled=False, fingerprint=fingerprint))
        else:
            return
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="waybill-dlq-telling")

    def started(self, app: App) -> None:
        """An index that cannot be opened is told to the log: it must keep nobody from consuming."""
        del app
        try:
            self._operations = Operations(self._stack.enter_context(Index.open(self._path)))
        except WaybillError as error:
            log.warning("what becomes of redriven messages is not told to the index: %s", error)

    def stopped(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
        self._tell(self._told)
        self._operations = None
        self._stack.close()

    async def _write(self) -> None:
        linger = LINGER
        try:
            while self._told:
                await asyncio.sleep(linger)
                told = self._told[:]
                if written := await asyncio.to_thread(self._tell, told):
                    del self._told[: len(told)]  # until it is written, `stopped` finds it there
                del self._told[:-MOST]
                linger = LINGER if written else RETRY
        finally:
            self._writing = None

    def _tell(self, told: Sequence[Told]) -> bool:
        operations = self._operations
        if operations is None or not told:
            return True
        try:
            operations.tell(told)
        except WaybillError as error:
            log.warning("what became of %d redriven messages cannot be told: %s", len(told), error)
            return False
        return True


@contextmanager
def telling(app: App, path: str) -> Generator[None, None, None]:
    """While this lasts, the application tells that index."""
    tells = Tells(path)
    app.observe(tells.handled)
    tells.started(app)
    try:
        yield
    finally:
        tells.stopped()
