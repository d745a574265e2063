"""What can be done to the process of a broker, for its harness."""

from __future__ import annotations

import asyncio

from tests.brokers.running import Running

__all__ = ["Outages"]


class Outages:
    """Of one server."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self._ended = False

    async def bring_back(self) -> None:
        """Start what a test that failed has left ended."""
        if self._ended:
            await self.restart()

    async def restart(self) -> None:
        await asyncio.to_thread(self.server.restart)
        self._ended = False

    async def kill(self) -> None:
        self._ended = True
        await asyncio.to_thread(self.server.kill)

    async def stop(self) -> None:
        self._ended = True
        await asyncio.to_thread(self.server.stop)

    async def pause(self) -> None:
        await asyncio.to_thread(self.server.pause)

    async def resume(self) -> None:
        await asyncio.to_thread(self.server.resume)
