"""What is no part of the registry itself: health, metrics, the server about itself, the document of the API."""

from __future__ import annotations

import asyncio
from importlib.metadata import PackageNotFoundError, version

import msgspec

from waybill_schema_registry.errors import RegistryError
from waybill_schema_registry.server.answers import Answer
from waybill_schema_registry.server.asking import Ask
from waybill_schema_registry.server.failures import failed
from waybill_schema_registry.server.metrics import TEXT

__all__ = [
    "Deployment",
    "Health",
    "Nothing",
    "ServerId",
    "ServerVersion",
    "deployment",
    "document",
    "health",
    "metrics",
    "nothing",
    "server_id",
    "server_version",
]

PATIENCE = 5.0
"""Seconds that the store has to answer a question about its health."""


class Nothing(msgspec.Struct, frozen=True):
    """An empty object."""


class Health(msgspec.Struct, frozen=True):
    """status: `up`."""

    status: str


class Scope(msgspec.Struct, frozen=True):
    path: list[str]
    clusters: dict[str, str]


class ServerId(msgspec.Struct, frozen=True):
    scope: Scope


class ServerVersion(msgspec.Struct, frozen=True, rename="camel"):
    version: str
    commit_id: str


class Deployment(msgspec.Struct, frozen=True):
    attributes: dict[str, str]


async def nothing(ask: Ask) -> Nothing:
    del ask
    return Nothing()


async def health(ask: Ask) -> Health | Answer:
    """Whether the store answers."""
    try:
        async with asyncio.timeout(PATIENCE):
            await ask.engine.refresh()
    except (RegistryError, TimeoutError) as error:
        answer = failed(error, "health")
        return Answer(503, answer.body, headers=((b"retry-after", b"1"),))
    return Health("up")


async def server_id(ask: Ask) -> ServerId:
    del ask
    return ServerId(Scope([], {"kafka-cluster": "", "schema-registry-cluster": "schema-registry"}))


async def server_version(ask: Ask) -> ServerVersion:
    del ask
    return ServerVersion(_version(), "")


async def deployment(ask: Ask) -> Deployment:
    del ask
    return Deployment({})


def _version() -> str:
    try:
        return version("waybill")
    except PackageNotFoundError:
        return "0"


async def metrics(ask: Ask) -> Answer:
    return Answer(200, ask.services.metrics().encode(), TEXT)


async def document(ask: Ask) -> Answer:
    return Answer(200, ask.services.document(), "application/json")
