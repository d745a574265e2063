"""The way in: connected, asked for as much as there is room for, and made anew when it was lost or is told to be."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Task
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from waybill.adapter import Adapter, Notify, Source
from waybill.errors import BrokerError, one_line
from waybill.message import Delivery
from waybill.redaction import redact
from waybill.settling import back_off
from waybill.topology import Subscription

__all__ = ["LAST_CALL", "Fetcher"]

log = logging.getLogger("waybill.fetching")

LAST_CALL = 1.5
"""Seconds that the broker is given at the end to take what is settled, and again to let go."""


class Fetcher:
    """Fetches for one consumer, in one task, from `connect` and `start` to `close` and `quiesce`. Never gives up."""

    task: Task[None]
    source: Source

    def __init__(
        self,
        adapter: Adapter,
        subscription: Subscription,
        *,
        window: Callable[[], int],
        wanted: Callable[[], int],
        admit: Callable[[Sequence[Delivery[Any]]], None],
        on_event: Notify,
        on_trouble: Callable[[str | None], None],
        on_connected: Callable[[Source], None],
    ) -> None:
        """`window`: how many deliveries the consumer holds at most. `wanted`: how many it would take now; when that may
        have grown, `wake` is called. `admit`: takes them. `on_trouble`: told why nothing can be received, and `None` when
        it can be again. `on_connected`: told of each source but the first.
        """
        self._adapter = adapter
        self._subscription = subscription
        self._window = window
        self._wanted = wanted
        self._admit = admit
        self._on_event = on_event
        self._on_trouble = on_trouble
        self._on_connected = on_connected
        self._link = AsyncExitStack()
        self._linked = False
        self._leaving = False
        self._room = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    @property
    def lives(self) -> bool:
        """Whether it fetches, or will again, or was told not to."""
        return self.stopped or self._leaving or not self.task.done()

    async def connect(self) -> None:
        source = self._adapter.source(self._subscription, window=self._window(), notify=self._on_event)
        self.source = await self._link.enter_async_context(source)
        self._linked = True

    def start(self) -> None:
        name = f"waybill-fetch {self._subscription.name}"
        self.task = asyncio.get_running_loop().create_task(self._fetch(), name=name)

    def wake(self) -> None:
        """Look again whether anything is wanted."""
        if not self._room.is_set() and self._wanted():
            self._room.set()

    async def reconnect(self, *, on_left: Callable[[], None]) -> None:
        """Leave the source, and connect anew as often as it takes. `on_left`: what was held is somebody else's by then."""
        self._leaving = True
        try:
            self.task.cancel()
            await asyncio.wait([self.task], timeout=LAST_CALL)
            if not self.stopped:
                await self._leave_and_start(on_left)
        finally:
            self._leaving = False

    async def _leave_and_start(self, on_left: Callable[[], None]) -> None:
        link, self._link, self._linked = self._link, AsyncExitStack(), False
        try:
            async with asyncio.timeout(LAST_CALL):
                await link.aclose()
        except (TimeoutError, BrokerError) as error:
            log.warning("%s: not left in order: %s", self._subscription.name, str(error) or "no answer in time")
        finally:
            on_left()
            self.start()

    def close(self) -> None:
        """Ask for nothing more. What is asked for already still comes, until `quiesce`."""
        self._stopped.set()
        self._room.set()

    async def quiesce(self, grace: float) -> None:
        """Take in what is under way, for `grace` seconds or one; then nothing comes any more."""
        loop = asyncio.get_running_loop()
        end = loop.time() + max(1.0, grace)
        try:
            async with asyncio.timeout_at(min(end, loop.time() + LAST_CALL)):
                await self.source.quiesce()
        except (TimeoutError, BrokerError) as error:
            why = str(error) or "no answer in time"
            log.warning("%s: the broker could not be asked to stop delivering: %s", self._subscription.name, why)
        await asyncio.wait([self.task], timeout=max(0.0, end - loop.time()))
        self.task.cancel()  # it has ended, unless the broker hangs

    async def leave(self) -> None:
        await self._link.aclose()

    async def _fetch(self) -> None:
        failures = 0
        while not self.stopped:
            wanted = self._wanted()
            if not wanted:
                if failures:  # nobody asks any more, so nobody would learn that it is over
                    failures = 0
                    self._on_trouble(None)
                self._room.clear()
                await self._room.wait()
            elif (trouble := await self._receive(wanted)) is not None:
                failures += 1
                self._on_trouble(trouble)
                await self._pause(back_off(failures))
            elif failures:
                failures = 0
                self._on_trouble(None)

    async def _receive(self, wanted: int) -> str | None:
        """Have what there is admitted. Answers why it cannot."""
        try:
            if not self._linked:
                await self.connect()
                self._on_connected(self.source)
            deliveries = await self.source.receive(wanted)
            if deliveries:
                self._admit(deliveries)
        except BrokerError as error:
            return f"cannot receive: {error}"
        except Exception as error:  # an adapter's bug: said loudly, and tried again, since nobody else would
            log.exception("%s: the adapter failed to receive", self._subscription.name)
            return f"the adapter failed to receive: {one_line(error, redact)}"
        return None

    async def _pause(self, seconds: float) -> None:
        """Sleep, but no longer than until `close`."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass
