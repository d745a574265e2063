"""A server in this process, over memory; and one as a process, over a file, for the whole session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.registry.server.processes import Server, server
from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.server.application import application
from waybill_schema_registry.server.options import Options
from waybill_schema_registry.stores.memory import MemoryStore
from waybill_schema_registry.stores.store import Store

V1 = "application/vnd.schemaregistry.v1+json"


@asynccontextmanager
async def opened(options: Options | None = None, store: Store | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server in this process."""
    async with Engine(store or MemoryStore()) as engine:
        transport = httpx.ASGITransport(app=application(engine, options))
        async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
            yield client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with opened() as client:
        yield client


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server process that all tests share, so each keeps to subjects of its own."""
    store = tmp_path_factory.mktemp("registry") / "registry.db"
    with server("--store", f"sqlite:///{store}") as started:
        yield started


def schema(*fields: str, name: str = "R", **more: Any) -> dict[str, Any]:
    """A body: a record of strings with defaults, so that any two of them go together."""
    made = {"type": "record", "name": name, "fields": [{"name": f, "type": "string", "default": ""} for f in fields]}
    return {"schema": json.dumps(made), **more}
