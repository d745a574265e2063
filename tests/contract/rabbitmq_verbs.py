"""What can be done to a RabbitMQ, for its harness."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

import aiormq

from tests.brokers.administration import Administration, vhost_of
from tests.brokers.running import Running
from tests.contract.outages import Outages

__all__ = ["Verbs"]

ALL = {"configure": ".*", "write": ".*", "read": ".*"}


class Verbs(Outages):
    """One test's virtual host, and its user there. Both go with the stack."""

    def __init__(self, server: Running, stack: ExitStack) -> None:
        super().__init__(server)
        self._restarted = False
        self._boss = boss = Administration(server)
        own = stack.enter_context(boss.vhost())
        self.url = stack.enter_context(boss.user(own, **ALL))
        self.poor = stack.enter_context(boss.user(own, write=".*", read=".*"))
        user, _, password = urlsplit(self.url).netloc.rpartition("@")[0].partition(":")
        self.refused = self.url.replace(password, "wrong")
        self._user, self._password, self._vhost = user, password, quote(vhost_of(own), safe="")

    @property
    def given(self) -> dict[str, Any]:
        """For `Broker`."""
        names = (
            "restart",
            "kill",
            "stop",
            "pause",
            "resume",
            "remove",
            "foreign",
            "lock_out",
            "forbid",
            "dead_end",
            "give_up",
        )
        return {name: getattr(self, name) for name in names}

    async def restart(self) -> None:
        await super().restart()
        self._restarted = True

    async def settle(self) -> None:
        """Let what goes with the test be removed."""
        if self._restarted:
            await asyncio.to_thread(self._boss.settle)

    # ---------------------------------------------------------------- what an operator does

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self._boss.ask, method, path, body)

    async def remove(self, topic: str, group: str) -> None:
        for queue in (f"{topic}/{group}", *(f"{topic}/{group}/{number}" for number in range(8))):
            with suppress(HTTPError):  # it has the one or the other
                await self._ask("DELETE", f"queues/{self._vhost}/{quote(queue, safe='')}")

    async def foreign(self, topic: str, body: bytes) -> None:
        async with aiormq.connect(self.url) as connection:
            channel = await connection.channel()
            await channel.basic_publish(body, exchange=topic)

    async def give_up(self, topic: str, group: str) -> None:
        """Reject what waits until the queue's delivery limit is reached."""
        async with aiormq.connect(self.url) as connection:
            channel = await connection.channel()
            while (got := await channel.basic_get(f"{topic}/{group}")).delivery_tag is not None:
                await channel.basic_reject(got.delivery_tag, requeue=True)

    # ---------------------------------------------------------------- for as long as a block lasts

    @asynccontextmanager
    async def lock_out(self) -> AsyncGenerator[None, None]:
        await self._password_is("another")
        try:
            yield
        finally:
            await self._password_is(self._password)

    async def _password_is(self, password: str) -> None:
        await self._ask("PUT", f"users/{self._user}", {"password": password, "tags": ""})

    @asynccontextmanager
    async def forbid(self, topic: str, group: str) -> AsyncGenerator[None, None]:
        """A consumer that runs is not asked again for its rights: so its connection is closed as well."""
        rights = f"permissions/{self._vhost}/{self._user}"
        await self._ask("PUT", rights, ALL | {"read": f"^(?!{re.escape(topic)}/{re.escape(group)})"})
        await asyncio.to_thread(self._boss.close_connections, self.url)
        try:
            yield
        finally:
            await self._ask("PUT", rights, ALL)

    @asynccontextmanager
    async def dead_end(self, topic: str, group: str) -> AsyncGenerator[None, None]:
        """Nothing leads to the queue of dead letters any more."""
        name = quote(f"{topic}/{group}/dead", safe="")
        binding = f"bindings/{self._vhost}/e/{name}/q/{name}"
        await self._ask("DELETE", f"{binding}/~")
        try:
            yield
        finally:
            await self._ask("POST", binding, {"routing_key": "", "arguments": {}})
