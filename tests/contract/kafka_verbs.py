"""What can be done to a Kafka, for its harness."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from tests.brokers.kafka import PROXIES
from tests.brokers.kafka_users import DENY, EVERYTHING, Rule, Users
from tests.brokers.running import Running
from tests.contract.outages import Outages
from tests.contract.threads import begin_threads
from waybill_contracts.harness import Route

__all__ = ["Verbs"]

MODEST = [
    *(Rule("topic", "*", operation) for operation in ("read", "write", "describe")),
    Rule("group", "*", "read"),
]
"""Of who publishes and consumes, and declares nothing."""


class Verbs(Outages):
    """One test's user, and what begins with its prefix. Its topics and rights go with the block; users stay, since Kafka 4.3
    may know none at all after a restart if many were removed before."""

    def __init__(self, server: Running) -> None:
        super().__init__(server)
        self.prefix = f"w{secrets.token_hex(5)}"
        self.poor = f"{self.prefix}-poor"
        self._password = secrets.token_hex(8)

    async def __aenter__(self) -> Self:
        await begin_threads()
        async with self._users() as users:
            for user, rules in ((self.prefix, EVERYTHING), (self.poor, MODEST)):
                await users.password(user, self._password)
                await users.rule(user, *rules)
        await asyncio.gather(self._known(self.prefix), self._known(self.poor))
        return self

    async def _known(self, user: str, password: str = "") -> None:
        """Wait until the broker has heard of the user and its password from its controller."""
        async with asyncio.timeout(20):
            while True:
                admin = AIOKafkaAdminClient(
                    bootstrap_servers=f"{urlsplit(self.server.url).hostname}:{self.server.further['secured']}",
                    security_protocol="SASL_PLAINTEXT",
                    sasl_mechanism="SCRAM-SHA-512",
                    sasl_plain_username=user,
                    sasl_plain_password=password or self._password,
                )
                try:
                    await admin.start()
                except KafkaConnectionError:
                    await asyncio.sleep(0.05)
                else:
                    return
                finally:
                    await admin.close()

    async def __aexit__(self, *_: object) -> None:
        await self.bring_back()
        async with self._admin() as admin:
            mine = [topic for topic in await admin.list_topics() if topic.startswith(self.prefix)]
            if mine:
                await admin.delete_topics(mine)
            users = Users(admin)
            await users.unrule(self.prefix, *EVERYTHING)
            await users.unrule(self.poor, *MODEST)

    # ---------------------------------------------------------------- the way there

    def url(self, user: str, password: str, host: str, port: int) -> str:
        return f"kafka://{user}:{password}@{host}:{port}"

    @property
    def mine(self) -> str:
        return self._through(self.prefix, self._password)

    @property
    def modest(self) -> str:
        return self._through(self.poor, self._password)

    @property
    def refused(self) -> str:
        return self._through(self.prefix, "wrong")

    def _through(self, user: str, password: str) -> str:
        return self.url(user, password, urlsplit(self.server.url).hostname or "", self.server.further["secured"])

    @property
    def route(self) -> Route:
        """Through the proxy of this process of the tests, of which each runs one test at a time."""
        number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        assert number < PROXIES, (
            f"{PROXIES} processes of the tests at most have a way of their own to Kafka: JOBS={PROXIES}"
        )
        return Route(
            host=urlsplit(self.server.url).hostname or "",
            port=self.server.further[f"proxied{number}"],
            url=lambda host, port: self.url(self.prefix, self._password, host, port),
            listen=self.server.further[f"proxy{number}"],
        )

    @property
    def given(self) -> dict[str, Any]:
        """For `Broker`."""
        names = ("restart", "kill", "stop", "pause", "resume", "foreign", "lock_out", "forbid", "dead_end")
        return {name: getattr(self, name) for name in names}

    # ---------------------------------------------------------------- what an operator sees and does

    async def until(self, true: Callable[[], object], what: str, *, within: float = 20.0) -> None:
        end = time.monotonic() + within
        while not true():
            assert time.monotonic() < end, f"not within {within:g} s: {what}"
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def _admin(self) -> AsyncGenerator[AIOKafkaAdminClient, None]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server.address)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    @asynccontextmanager
    async def _users(self) -> AsyncGenerator[Users, None]:
        async with self._admin() as admin:
            yield Users(admin)

    async def foreign(self, topic: str, body: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.server.address) as producer:
            await producer.send_and_wait(topic, body)

    # ---------------------------------------------------------------- for as long as a block lasts

    @asynccontextmanager
    async def user(self, name: str, *rules: Rule) -> AsyncGenerator[str, None]:
        """The URL of a user with these rights and no others."""
        user = f"{self.prefix}-{name}"
        async with self._users() as users:
            await users.password(user, self._password)
            await users.rule(user, *rules)
        await self._known(user)
        yield self._through(user, self._password)
        async with self._users() as users:
            await users.unrule(user, *rules)

    @asynccontextmanager
    async def lock_out(self) -> AsyncGenerator[None, None]:
        async with self._users() as users:
            await users.password(self.prefix, "another")
        try:
            await self._known(self.prefix, "another")
            yield
        finally:
            async with self._users() as users:
                await users.password(self.prefix, self._password)
            await self._known(self.prefix)

    @asynccontextmanager
    async def _without(self, user: str, *rules: Rule) -> AsyncGenerator[None, None]:
        async with self._users() as users:
            await users.rule(user or self.prefix, *rules)
        try:
            yield
        finally:
            async with self._users() as users:
                await users.unrule(user or self.prefix, *rules)

    @asynccontextmanager
    async def forbid(self, topic: str, group: str, user: str = "") -> AsyncGenerator[None, None]:
        del group  # a fetch is asked for its topic
        async with self._without(user, Rule("topic", topic, "read", DENY)):
            yield

    @asynccontextmanager
    async def dead_end(self, topic: str, group: str, user: str = "") -> AsyncGenerator[None, None]:
        async with self._without(user, Rule("topic", f"{topic}..{group}.dead", "write", DENY)):
            yield

    @asynccontextmanager
    async def no_group(self, topic: str, user: str = "") -> AsyncGenerator[None, None]:
        async with self._without(user, Rule("group", f"{topic}..*", "all", DENY)):
            yield
