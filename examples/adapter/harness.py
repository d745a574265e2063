"""How PostgreSQL comes to a test of the contract kit: users of its own, and a schema, on a server that runs somewhere."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has few annotations

from waybill_contracts import Broker

__all__ = ["Operator", "Postgres"]

connect: Any = asyncpg.connect  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

CANNOT = {
    "rolling": "one server, which is away while it is restarted",
    "forbid": "who may consume may read the table, and so all topics",
    "dead_end": "a dead letter stays in its table, marked: it has no place that could be missing or full",
    "partitions": "it has no partitions: it orders each key by itself",
}


class Postgres:
    """url: of a superuser, on a server for tests."""

    name = "postgres 17"
    provider = "url"
    waived: Mapping[str, str] = {}

    def __init__(self, url: str) -> None:
        self.url = url

    @asynccontextmanager
    async def broker(self, folder: Path, **verbs: Any) -> AsyncGenerator[Broker, None]:
        """verbs: what else can be done to the server, by the names of `Broker`."""
        del folder
        operator = Operator(self.url)
        await operator.make()
        try:
            yield Broker(
                url=operator.as_user(operator.schema, operator.password),
                version="17",
                options={"postgres": {"schema": operator.schema}},
                credentials=operator.as_user(operator.schema, "wrong"),
                permissions=operator.as_user(operator.poor, operator.password),
                remove=operator.remove,
                foreign=operator.foreign,
                lock_out=operator.lock_out,
                cannot=CANNOT,
                **verbs,
            )
        finally:
            await operator.clear()


class Operator:
    """What a superuser does for one test: two users and a schema, and what the test asks for."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.schema = f"w{uuid.uuid4().hex[:12]}"
        self.poor = f"{self.schema}_poor"
        self.password = uuid.uuid4().hex

    def as_user(self, user: str, password: str) -> str:
        parts = urlsplit(self._url)
        return parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}").geturl()

    async def make(self) -> None:
        """A user who may make the schema, and one who may use what is in it."""
        defaults = f"ALTER DEFAULT PRIVILEGES FOR ROLE {self.schema} GRANT"
        database = urlsplit(self._url).path.removeprefix("/")
        await self._run(
            f"CREATE ROLE {self.schema} LOGIN PASSWORD '{self.password}'",
            f"CREATE ROLE {self.poor} LOGIN PASSWORD '{self.password}'",
            f"GRANT CREATE ON DATABASE {database} TO {self.schema}",
            f"{defaults} USAGE ON SCHEMAS TO {self.poor}",
            f"{defaults} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {self.poor}",
        )

    async def clear(self) -> None:
        await self._run(
            f"DROP SCHEMA IF EXISTS {self.schema} CASCADE",
            f"DROP OWNED BY {self.schema}",
            f"DROP OWNED BY {self.poor}",
            f"DROP ROLE {self.schema}, {self.poor}",
        )

    async def remove(self, topic: str, group: str) -> None:
        await self._run(f"DELETE FROM {self.schema}.groups WHERE topic = '{topic}' AND name = '{group}'")

    async def foreign(self, topic: str, body: bytes) -> None:
        await self._run(
            f"""INSERT INTO {self.schema}.messages (grp, body)
                SELECT id, '\\x{body.hex()}' FROM {self.schema}.groups WHERE topic = '{topic}'"""
        )

    @asynccontextmanager
    async def lock_out(self) -> AsyncGenerator[None, None]:
        await self._run(f"ALTER ROLE {self.schema} PASSWORD 'another'")
        try:
            yield
        finally:
            await self._run(f"ALTER ROLE {self.schema} PASSWORD '{self.password}'")

    async def _run(self, *statements: str) -> None:
        """All of them, or none; while no other test changes who may do what."""
        connection = await connect(self._url)
        try:
            await connection.execute("; ".join(["SELECT pg_advisory_xact_lock(0)", *statements]))
        finally:
            await connection.close()
