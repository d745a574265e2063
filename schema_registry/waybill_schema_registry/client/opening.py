"""From a URL to what answers for it: over HTTP, or in this process over a store."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from waybill.errors import ConfigurationError
from waybill_schema_registry.client.access import Access
from waybill_schema_registry.client.addresses import addresses, safe
from waybill_schema_registry.client.api import RegistryClient

__all__ = ["Opener", "opener"]

Opener: TypeAlias = Callable[[], Awaitable[RegistryClient]]
"""Opens one for the running event loop."""
REMOTE = ("http", "https")
STORES = ("memory", "sqlite", "postgresql", "postgres")


def opener(url: str, access: Access | None) -> Opener:
    """Does no I/O. Raises `ConfigurationError` for a URL that names no registry, and for an extra that is not installed."""
    scheme = url.strip().partition(":")[0].lower()
    if scheme in REMOTE:
        return _remote(url, access or Access())
    if access is not None:
        raise ConfigurationError(f"{safe(url)}: Access is for a registry over HTTP; a store has it all in its URL")
    if scheme in STORES:
        return _local(url.strip())
    near = difflib.get_close_matches(scheme, (*REMOTE, *STORES), n=1)
    hint = f"Did you mean {near[0]}://? " if near and "://" in url else ""
    raise ConfigurationError(
        f"{safe(url)!r} names no registry. {hint}Write http://host:8081, or a store: sqlite:///registry.db, "
        f"postgresql://host/database, memory://"
    )


def _remote(url: str, access: Access) -> Opener:
    from waybill_schema_registry.client.http import HttpRegistry  # noqa: PLC0415 - stores need not load it
    from waybill_schema_registry.extras import needed  # noqa: PLC0415

    needed("httpx", "avro", "a registry over HTTP")
    servers = addresses(url)

    async def open_remote() -> RegistryClient:
        return HttpRegistry(servers, access)

    return open_remote


def _local(url: str) -> Opener:
    from waybill_schema_registry.client.local import LocalRegistry  # noqa: PLC0415 - HTTP need not load it
    from waybill_schema_registry.engine.engine import Engine  # noqa: PLC0415
    from waybill_schema_registry.stores.opening import open_store  # noqa: PLC0415

    kept = open_store(url)
    in_memory = url.lower().startswith("memory:")

    async def open_local() -> RegistryClient:
        nonlocal kept
        store, kept = kept, kept if in_memory else open_store(url)
        engine = Engine(store)
        await engine.open()
        return LocalRegistry(engine)

    return open_local
