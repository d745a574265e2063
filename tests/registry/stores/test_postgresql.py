"""What can happen to a server, and what is said of one that cannot be used as it is."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.brokers.plugin import running
from tests.registry.stores.postgres import opened, schema
from waybill_contracts.faults.proxy import Proxy
from waybill_contracts.registry.trial import added, kept, state_of
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.opening import open_store
from waybill_schema_registry.stores.postgresql import PostgreSQLStore
from waybill_schema_registry.stores.store import Moved

pytestmark = pytest.mark.broker("postgres")


@asynccontextmanager
async def asked(url: str) -> AsyncGenerator[asyncpg.Connection, None]:
    """The server by another way."""
    connection = await asyncpg.connect(url.partition("?")[0])
    try:
        yield connection
    finally:
        await connection.close()


def named(url: str) -> str:
    return url.rpartition("=")[2]


@asynccontextmanager
async def behind_a_proxy(url: str) -> AsyncGenerator[tuple[str, Proxy], None]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with Proxy(parts.hostname, parts.port) as proxy:
        netloc = parts.netloc.replace(f"{parts.hostname}:{parts.port}", f"{proxy.host}:{proxy.port}")
        yield parts._replace(netloc=netloc).geturl(), proxy


async def test_no_error_tells_the_password() -> None:
    url = running("postgres").url
    secret = "s3cret-of-ours"
    parts = urlsplit(url)
    other = parts._replace(netloc=f"{parts.username}:{secret}@{parts.hostname}:{parts.port}")
    nobody = parts._replace(netloc=f"{parts.username}:{secret}@{parts.hostname}:1")
    for wrong, said in [(other, "check the user and the password"), (nobody, "cannot be reached now")]:
        with pytest.raises(StoreError, match=said) as refused:
            await open_store(wrong.geturl()).open()
        assert secret not in "".join(traceback.format_exception(refused.value))


async def test_a_database_that_is_missing_is_named() -> None:
    url = urlsplit(running("postgres").url)._replace(path="/nowhere").geturl()
    with pytest.raises(StoreError, match="no such database: make it"):
        await open_store(url).open()


async def test_a_server_that_is_away_is_an_error_at_once_and_works_again_when_it_is_back() -> None:
    async with schema() as url, behind_a_proxy(url) as (way, proxy), opened(way) as store:
        await kept(store, added(1))
        with proxy.away():
            proxy.cut()
            for asking in (store.revision(), store.commit(1, [added(2)]), store.schemas(".", [1]), state_of(store)):
                with pytest.raises(StoreError, match="cannot be reached now"):
                    await asking
        assert await store.revision() == 1
        await kept(store, added(2))
        assert set((await state_of(store)).schemas) == {(".", 1), (".", 2)}
        proxy.cut()
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await store.revision() == 2
                    break
                except StoreError:
                    await asyncio.sleep(0.01)


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    async with schema() as url, behind_a_proxy(url) as (way, proxy), opened(url) as sound:
        await kept(sound, added(1))
        store = PostgreSQLStore(way, patience=2.0)
        await store.open()
        with proxy.silent():
            for _ in range(2):
                asking = [store.revision(), store.revision(), store.commit(1, [added(2)])]
                async with asyncio.timeout(30):
                    told = await asyncio.gather(*asking, return_exceptions=True)
                assert [type(each) for each in told] == [StoreError] * 3
                assert "did not answer in time" in str(told[0])
        await store.close()
        made = await sound.revision()
        assert made in {1, 2}, "whether it was kept is not known, and either may be"
        assert len((await state_of(sound)).schemas) == made


async def test_a_commit_whose_answer_is_lost_was_kept_whole() -> None:
    async with schema() as url, behind_a_proxy(url) as (way, proxy), opened(way) as store:
        await kept(store, added(1))
        with proxy.replies_held():
            committing = asyncio.create_task(store.commit(1, [added(2), added(3)]))
            async with opened(url) as other, asyncio.timeout(30):
                while await other.revision() == 1:
                    await asyncio.sleep(0.01)
            proxy.cut()
            with pytest.raises(StoreError):
                await committing
        with pytest.raises(Moved):
            await store.commit(1, [added(2)])
        assert len((await state_of(store)).schemas) == 3


async def test_tables_of_another_program_are_left_alone() -> None:
    async with schema() as url, asked(url) as server:
        await server.execute(f"CREATE SCHEMA {named(url)}")
        await server.execute(f"CREATE TABLE {named(url)}.schemas (a integer)")
        with pytest.raises(StoreError, match="name a schema of its own with"):
            await open_store(url).open()
        left = await server.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", named(url))
        assert [name for (name,) in left] == ["schemas"]


async def test_tables_of_a_later_version_are_not_touched() -> None:
    async with schema() as url, asked(url) as server:
        async with opened(url):
            pass
        await server.execute(f"INSERT INTO {named(url)}.migrations (version) VALUES (99)")
        with pytest.raises(StoreError, match=r"later version of Waybill \(version 99, this one knows 1\): upgrade"):
            await open_store(url).open()


async def test_a_user_needs_no_more_than_a_schema_of_its_own() -> None:
    async with schema() as url, asked(url) as server:
        name, parts = named(url), urlsplit(url)
        await server.execute(f"CREATE USER {name} PASSWORD 'x'")
        try:
            low = parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}").geturl()
            with pytest.raises(StoreError, match="may not do that: let it make a schema"):
                await open_store(low).open()
            await server.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
            async with opened(low) as store:
                await kept(store, added(1))
        finally:
            await server.execute(f"DROP OWNED BY {name} CASCADE")
            await server.execute(f"DROP USER {name}")


async def test_a_server_that_takes_no_writes_can_be_read_from() -> None:
    async with schema() as url:
        async with opened(url) as store:
            await kept(store, added(1))
        async with opened(f"{url}&default_transaction_read_only=on") as store:
            assert await store.revision() == 1
            with pytest.raises(StoreError, match="takes no writes: name the primary"):
                await kept(store, added(2))


async def test_whatever_isolation_the_server_has_who_comes_second_has_moved() -> None:
    async with schema() as url, opened(f"{url}&default_transaction_isolation=serializable") as store:
        for _ in range(10):
            revision = await store.revision()
            both = [store.commit(revision, [added(2 * revision + n)]) for n in (1, 2)]
            told = await asyncio.gather(*both, return_exceptions=True)
            assert sorted(map(str, map(type, told))) == sorted([str(int), str(Moved)]), told


async def test_many_ask_at_once_and_none_is_told_less_than_was_so() -> None:
    async with schema() as url, opened(url) as store, opened(url) as other:
        for number in range(1, 30):
            early = [asyncio.create_task(store.revision()) for _ in range(3)]
            await asyncio.sleep(0)
            await kept(other, added(number))
            late = await asyncio.gather(*(store.revision() for _ in range(5)))
            assert late == [number] * 5
            assert {await each for each in early} <= {number - 1, number}


async def test_durable_where_the_server_would_not_wait_for_its_disk() -> None:
    async with schema() as url, opened(f"{url}&synchronous_commit=off") as store:
        await kept(store, added(1))
        async with asked(url) as server:
            assert await server.fetchval("SHOW synchronous_commit") == "on"
        pool = store._pool  # type: ignore[attr-defined]
        async with pool.acquire() as connection:
            assert await connection.fetchval("SHOW synchronous_commit") == "on"
