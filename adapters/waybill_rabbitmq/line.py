"""One connection, made anew whenever it is wanted and lost: with growing pauses, and by one attempt at a time."""

from __future__ import annotations

import asyncio
import logging

from waybill.errors import BrokerUnavailable, ClosedError
from waybill.settling import back_off
from waybill_rabbitmq.client import Channel, Connection
from waybill_rabbitmq.connecting import Connector
from waybill_rabbitmq.mapping import mapped

__all__ = ["Line"]

log = logging.getLogger("waybill.rabbitmq")

CAP = 10.0
"""Seconds: the longest pause between two attempts."""
CLOSING = 1.0
"""Seconds that the broker is given to say goodbye."""


class Line:
    """The way to the broker for one purpose. Whoever wants it to be there waits for `connection`."""

    def __init__(self, connector: Connector, role: str) -> None:
        self._connector = connector
        self._role = role
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()
        self._failures = 0
        self._next = 0.0
        self._closed = False

    @property
    def open(self) -> Connection | None:
        """The connection, if there is one now."""
        connection = self._connection
        return None if connection is None or connection.is_closed or not connection.is_opened else connection

    async def connection(self, *, wait: bool = True) -> Connection:
        """The connection, opened if there is none. Raises `BrokerUnavailable`; the next call tries again, after a pause.

        `wait=False`: without the pause, for whoever has not tried before.
        """
        if (found := self.open) is not None:
            return found
        async with self._opening:
            if (found := self.open) is not None:
                return found
            loop = asyncio.get_running_loop()
            if wait and not self._closed and (pause := self._next - loop.time()) > 0:
                await asyncio.sleep(pause)
            if self._closed:
                raise ClosedError("the connection to the broker is closed")
            lost, self._connection = self._connection, None
            if lost is not None:
                log.warning("the connection to %s for %s was lost", self._connector.name, self._role)
            try:
                made = await self._connector.open(self._role)
            except BrokerUnavailable:
                self._failures += 1
                self._next = loop.time() + back_off(self._failures, cap=CAP)
                raise
            if self._closed:  # meanwhile: nobody would ever close this one
                await _end(made, self._connector.name)
                raise ClosedError("the connection to the broker is closed")
            self._failures, self._connection = 0, made
            return made

    async def channel(self, *, confirms: bool = False) -> Channel:
        """A channel of its own. Raises `BrokerUnavailable`."""
        connection = await self.connection()
        with mapped("cannot open a channel"):
            return await connection.open_channel(confirms=confirms)

    async def close(self) -> None:
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is None:
            return
        await _end(connection, self._connector.name)


async def _end(connection: Connection, name: str) -> None:
    try:
        async with asyncio.timeout(CLOSING):
            await connection.close()
    except TimeoutError:
        log.debug("%s did not say goodbye", name)
