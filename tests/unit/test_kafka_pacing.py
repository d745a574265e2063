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
        self.asked = 0
        pace.keep(self)

    async def _metadata_update(self, cluster: object, topics: object) -> bool:
        del cluster, topics
        self.asked += 1
        return await self._get_conn(1) is not None

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


async def ask_who_leads(client: Client, seconds: float) -> None:
    """As often as it can."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await client._metadata_update(None, None)


async def test_nobody_asks_without_a_pause_who_leads_what_while_nobody_can_connect() -> None:
    client = Client(Pace())
    await ask_who_leads(client, 1.0)
    assert 1 <= client.asked <= 12


async def test_nor_while_the_answer_brings_no_leader() -> None:
    client = Client(Pace())
    client.there = True
    await ask_who_leads(client, 1.0)
    assert 1 < client.asked <= 18


async def test_questions_that_are_not_in_a_row_are_not_held_up() -> None:
    client = Client(Pace())
    client.there = True
    began = asyncio.get_running_loop().time()
    for _ in range(6):
        await client._metadata_update(None, None)
    assert asyncio.get_running_loop().time() - began < 0.1
