"""A registry in PostgreSQL, for any number of servers. Needs the extra `postgresql`: asyncpg."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has few annotations
import msgspec

from waybill.errors import ConfigurationError
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.postgresql_errors import translated
from waybill_schema_registry.stores.postgresql_form import STEPS
from waybill_schema_registry.stores.rows import check_after, logged, read_log, references, row, schema
from waybill_schema_registry.stores.store import Change, SchemaAdded

__all__ = ["PostgreSQLStore"]

R = TypeVar("R")
create_pool: Any = asyncpg.create_pool  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

SCHEMA = "waybill_registry"
NAME = re.compile("[a-z_][a-z0-9_]{0,62}")
PATIENCE = 5.0
EACH = 0.002
"""Seconds that a commit may take besides, for each of its changes."""
CONNECTIONS = 8
"""At most, of one store."""
CHUNK = 256
"""Revisions that are read at once."""
SESSION = {"application_name": "waybill-registry", "lock_timeout": "5s", "statement_timeout": "10min"}
DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"


class PostgreSQLStore:
    """`Store` in a schema of its own, which is made if there is none. url: as asyncpg takes it, and `?schema=name`.

    patience: seconds that an answer is waited for; then the connection counts as dead.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._url, self._schema = _read(url)
        parts = urlsplit(self._url)
        hosts = parts.netloc.rpartition("@")[2]
        self._name = f"PostgreSQL at {hosts or 'localhost'}{parts.path}, schema {self._schema}"
        self._pool: Any = None
        self._next: asyncio.Task[int] | None = None
        self._one_question = asyncio.Lock()
        self._under_way = set[asyncio.Future[None]]()

    async def open(self) -> None:
        if self._pool is not None:
            return
        with translated(self._name):
            async with asyncio.timeout(2 * self._patience):
                self._pool = await create_pool(
                    self._url,
                    min_size=0,
                    max_size=CONNECTIONS,
                    timeout=self._patience,
                    server_settings=SESSION | {"search_path": self._schema},
                    init=_durable,
                    reset=_as_it_is,
                )
        try:
            await self._with(self._migrate)
        except BaseException:
            self._pool.terminate()
            self._pool = None
            raise

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if self._under_way:  # a connection that is just being made would be nobody's
            await asyncio.wait(self._under_way, timeout=self._patience)
        try:
            async with asyncio.timeout(self._patience):
                await pool.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()

    async def revision(self) -> int:
        if self._next is None:
            self._next = asyncio.create_task(self._ask_next())
            self._next.add_done_callback(_heard)
        return await asyncio.shield(self._next)  # it is for others as well

    async def changes(self, after: int) -> AsyncGenerator[tuple[int, Sequence[Change]]]:
        while found := await self._logged_after(after):
            yield found
            after = found[0]

    async def schemas(self, context: str, ids: Sequence[int]) -> dict[int, Schema]:
        sql = "SELECT id, format, text, about FROM schemas WHERE context = $1 AND id = ANY($2::bigint[])"
        rows = await self._with(lambda connection: connection.fetch(sql, context, list(ids)))
        return {ident: schema(format_, text, about) for ident, format_, text, about in rows}

    async def commit(self, after: int, changes: Sequence[Change]) -> int:
        given = after, logged(changes), _rows(changes, after + 1)
        last = await self._with(
            lambda connection: connection.fetchval("SELECT keep($1, $2, $3)", *given), EACH * len(changes)
        )
        if last is not None:
            check_after(after, last, self._name)
        return after + 1

    # ---------------------------------------------------------------- inside

    async def _ask_next(self) -> int:
        """One question for all who came while the last one was on its way: no answer is older than who gets it."""
        async with self._one_question:
            self._next = None
            sql = "SELECT coalesce(max(revision), 0) FROM revisions"
            revision: int = await self._with(lambda connection: connection.fetchval(sql))
            return revision

    async def _logged_after(self, after: int) -> tuple[int, Sequence[Change]] | None:
        sql = "SELECT revision, changes FROM revisions WHERE revision > $1 ORDER BY revision LIMIT $2"
        return read_log(await self._with(lambda connection: connection.fetch(sql, after, CHUNK)))

    async def _migrate(self, connection: Any) -> None:
        if await _version(connection, self._schema, self._name) == len(STEPS):
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"waybill {self._schema}")
            if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", self._schema):
                await connection.execute(f"CREATE SCHEMA {self._schema}")
            version = await _version(connection, self._schema, self._name)
            if version == 0:
                await connection.execute(
                    "CREATE TABLE migrations (version integer PRIMARY KEY, at timestamptz DEFAULT now())"
                )
            for number, step in enumerate(STEPS[version:], start=version + 1):
                await connection.execute(step)
                await connection.execute("INSERT INTO migrations (version) VALUES ($1)", number)

    async def _with(self, work: Callable[[Any], Awaitable[R]], longer: float = 0.0) -> R:
        if self._pool is None:
            raise StoreError(f"{self._name}: the store is not open")
        done = asyncio.get_running_loop().create_future()
        self._under_way.add(done)
        try:
            with translated(self._name):
                async with asyncio.timeout(self._patience + longer), self._pool.acquire() as connection:
                    return await _asked(connection, work)
        finally:
            self._under_way.discard(done)
            done.set_result(None)


async def _asked(connection: Any, work: Callable[[Any], Awaitable[R]]) -> R:
    try:
        return await work(connection)
    except asyncpg.PostgresError:
        raise  # the server has said no
    except BaseException:
        connection.terminate()  # what the server does now nobody knows
        raise


def _heard(asking: asyncio.Task[int]) -> None:
    """Whoever asked may have gone meanwhile: then nobody else looks at what came of it."""
    if not asking.cancelled():
        asking.exception()


async def _version(connection: Any, schema_name: str, name: str) -> int:
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", f"{schema_name}.migrations"):
        return 0
    version: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM migrations")
    if version > len(STEPS):
        raise StoreError(
            f"{name} was written by a later version of Waybill (version {version}, this one knows {len(STEPS)}): upgrade this "
            f"installation, or name another schema. Nothing was changed"
        )
    return version


async def _durable(connection: Any) -> None:
    await connection.execute(DURABLE)


async def _as_it_is(connection: Any) -> None:
    """Nothing is left behind in a connection, and asyncpg would ask the server to tidy up after each statement."""


def _rows(changes: Sequence[Change], revision: int) -> str:
    """As the server's function takes them."""
    found: list[dict[str, Any]] = []
    for change in changes:
        columns = row(change, revision)
        if isinstance(change, SchemaAdded):
            columns["references"] = references(change)
        found.append(columns)
    return msgspec.json.encode(found).decode()


def _read(url: str) -> tuple[str, str]:
    """The URL for asyncpg, and the schema."""
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    name = dict(given).get("schema", SCHEMA)
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"?schema={name}: a schema's name is of a-z, 0-9 and _, and begins with none of 0-9")
    rest = urlencode([(key, value) for key, value in given if key != "schema"])
    return urlunsplit(parts._replace(query=rest)), name
