"""The way to PostgreSQL: its settings, one connection, and its library's exceptions as Waybill's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has few annotations
from pydantic import Field

from waybill.errors import BrokerError, BrokerUnavailable, ConfigurationError, DestinationMissing
from waybill.foreign import CredentialsRefused, Meanings, NotPermitted, translated
from waybill.settling import back_off
from waybill.tables import Table

__all__ = ["Link", "Options", "Place"]

T = TypeVar("T")
connect: Any = asyncpg.connect  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

PATIENCE = 5.0
"""Seconds that an answer is waited for; then the connection counts as dead."""
MOST = 2.0
"""Seconds between two attempts to connect, at most."""


class Options(Table):
    """The settings `[broker.postgres]`. Durations are seconds."""

    schema_name: str = Field(default="waybill", alias="schema", pattern="^[a-z_][a-z0-9_]{0,39}$")
    """The schema that holds the tables. It is made by `waybill topology apply`, with them."""
    connect_timeout: float = Field(default=5.0, gt=0)
    """How long the server is given to answer when connecting."""


class Place(NamedTuple):
    """Which database, and which schema there."""

    url: str
    options: Options


MEANINGS: Meanings = (
    ((asyncpg.InvalidAuthorizationSpecificationError,), CredentialsRefused),
    ((asyncpg.InvalidCatalogNameError, asyncpg.ClientConfigurationError), ConfigurationError),
    ((asyncpg.InsufficientPrivilegeError,), NotPermitted),
    ((asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError), DestinationMissing),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            TimeoutError,
        ),
        BrokerUnavailable,
    ),
    ((asyncpg.PostgresError,), BrokerError),
)


class Link:
    """One connection, made when it is needed and anew when it has broken. It asks one thing at a time.

    greet: done with each new connection before anything is asked.
    """

    def __init__(self, place: Place, greet: Callable[[Any], Awaitable[None]] | None = None) -> None:
        self._place = place
        self._greet = greet
        self._connection: Any = None
        self._failures, self._not_before = 0, 0.0
        self._one_at_a_time = asyncio.Lock()

    async def open(self, *, within: float = PATIENCE) -> None:
        """Connect, unless it is connected. Whoever fails here has certainly changed nothing."""
        with self._translated("connecting"):
            async with asyncio.timeout(within), self._one_at_a_time:
                await self._connected()

    async def ask(self, doing: str, sql: str, *values: object, within: float = PATIENCE) -> list[Any]:
        """The rows of one statement, which is a transaction; none where there are no tables yet."""
        try:
            return list(await self._with_connection(doing, within, lambda connection: connection.fetch(sql, *values)))
        except DestinationMissing:
            return []

    async def ask_in_turn(self, doing: str, turn: int, sql: str, *values: object) -> list[Any]:
        """As `ask`, after whoever else asks in this turn has got an answer."""

        async def work(connection: Any) -> list[Any]:
            await connection.execute("BEGIN")
            try:
                await connection.execute(f"SELECT pg_advisory_xact_lock(hashtext(current_schema()), {turn:d})")
                rows = list(await connection.fetch(sql, *values))
            except asyncpg.PostgresError:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")
            return rows

        return await self._with_connection(doing, PATIENCE, work)

    async def run(self, doing: str, script: str) -> None:
        """Several statements as one transaction."""
        await self._with_connection(doing, PATIENCE, lambda connection: connection.execute(script))

    async def _with_connection(self, doing: str, within: float, work: Callable[[Any], Awaitable[T]]) -> T:
        with self._translated(doing):
            async with asyncio.timeout(within), self._one_at_a_time:
                connection = await self._connected()
                try:
                    return await work(connection)
                except asyncpg.PostgresError:
                    raise  # the server has said no
                except BaseException:
                    self._break()  # what the server does now nobody knows
                    raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                async with asyncio.timeout(1):
                    await connection.close()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def _connected(self) -> Any:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(self._not_before - clock())
        try:
            self._connection = await self._connect()
        except BaseException:
            self._failures += 1
            self._not_before = clock() + back_off(self._failures, cap=MOST)
            raise
        self._failures = 0
        return self._connection

    async def _connect(self) -> Any:
        options = self._place.options
        connection = await connect(
            self._place.url, timeout=options.connect_timeout, server_settings={"search_path": options.schema_name}
        )
        try:
            if self._greet is not None:
                await self._greet(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _break(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated(f"PostgreSQL, {doing}", MEANINGS)
