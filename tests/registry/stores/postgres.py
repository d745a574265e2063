"""PostgreSQL as the kit sees it: a schema of its own for each test, on the server of the tests."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from tests.brokers.plugin import running
from waybill_contracts.registry_store import Place
from waybill_schema_registry.stores.opening import open_store
from waybill_schema_registry.stores.store import Store

__all__ = ["Ours", "opened", "schema"]


@asynccontextmanager
async def schema() -> AsyncGenerator[str, None]:
    """The URL of an empty schema. Its test is marked `broker("postgres")`."""
    url, name = running("postgres").url, f"test_{uuid.uuid4().hex[:12]}"
    try:
        yield f"{url}?schema={name}"
    finally:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        finally:
            await connection.close()


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Store, None]:
    store = open_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Ours:
    name = "postgresql"
    waived: Mapping[str, str] = {}

    @property
    def provider(self) -> str:
        return running("postgres").provider

    @asynccontextmanager
    async def place(self, folder: Path) -> AsyncGenerator[Place, None]:
        async with schema() as url:
            yield Place(opener=lambda: open_store(url), version=running("postgres").version or "")
