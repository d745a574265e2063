"""Connecting again with pauses."""

from __future__ import annotations

import asyncio
from typing import Any

from waybill_kafka.pacing import Pace


class Connection:
    def connected(self) -> bool:
        return True


class Client:
    """What the library has of it."""

    def __init__(self, pace: Pace) -> None:
        self._conns: dict[Any, Connection] = {}
        self.there = False
        self.tried = 0
        pace.keep(self)

    async def _get_conn(self, node: int, *, group: int = 0) -> Connection | None:
        self.tried += 1
        await asyncio.sleep(0)
        if self.there:
            self._conns[node, group] = Connection()
        return self._conns.get((node, group))


async def ask(client: Client, seconds: float) -> None:
    """As often as it can."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        if await client._get_conn(1) is not None:
            return
        await asyncio.sleep(0.001)


async def test_all_clients_together_try_seldom_while_nobody_can_connect() -> None:
    pace = Pace()
    clients = [Client(pace) for _ in range(6)]
    await asyncio.gather(*(ask(client, 0.5) for client in clients))
    assert 1 <= sum(client.tried for client in clients) <= 30


async def test_once_one_has_connected_all_may() -> None:
    pace = Pace()
    clients = [Client(pace) for _ in range(6)]
    await asyncio.gather(*(ask(client, 0.2) for client in clients))
    for client in clients:
        client.there = True
    await asyncio.gather(*(ask(client, 5.0) for client in clients))
    assert all(client._conns for client in clients)
    tried = [client.tried for client in clients]
    await asyncio.gather(*(ask(client, 5.0) for client in clients))
    assert tried == [client.tried for client in clients], "who is connected connects no more"
