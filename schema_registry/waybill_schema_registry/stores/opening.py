"""From a URL to a store: `memory://`, `sqlite:///registry.db`, `postgresql://user@host/database`."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from urllib.parse import SplitResult, unquote, urlsplit

from waybill.errors import ConfigurationError
from waybill.settings import safe_url
from waybill_schema_registry.errors import NotFound
from waybill_schema_registry.stores.store import Store

__all__ = ["open_store"]

HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:\[\]]*)(:\d*)?")
"""One host of a URL of PostgreSQL, which may have several with commas between."""


def open_store(url: str, *, existing: bool = False) -> Store:
    """The store that a URL names, not opened yet. Raises `ConfigurationError`, without the URL's password.

    `memory://`: gone with this process. `sqlite:///registry.db`: a file, relative to the working directory; four slashes for
    an absolute path. `postgresql://user:password@host:5432/database`: as asyncpg takes it, and `?schema=name` for the schema
    that holds the tables (`waybill_registry`).

    existing: raise `NotFound` where it can be seen that nothing is there, which would be made otherwise.
    """
    try:
        parts = urlsplit(url)
        made = SCHEMES.get(parts.scheme)
    except ValueError:
        made, parts = None, SplitResult("", "", "", "", "")
    if made is None:
        known = "memory://, sqlite:///registry.db or postgresql://user@host/database"
        raise ConfigurationError(f"{_shown(url)} names no store of a registry: it is {known}")
    store = made(url, parts)
    if existing:
        _check_existing(parts)
    return store


def _check_existing(parts: SplitResult) -> None:
    if parts.scheme == "memory":
        raise NotFound("memory:// is empty: name the store of a registry that has kept something")
    if parts.scheme == "sqlite" and not os.path.lexists(_path(parts)):
        raise NotFound(f"{_path(parts)} does not exist: see whether the URL names the right file")


def _path(parts: SplitResult) -> str:
    return unquote(parts.path.removeprefix("/"))


def _memory(url: str, parts: SplitResult) -> Store:
    if parts.netloc or parts.path:
        raise ConfigurationError(f"{_shown(url)}: memory has no name, since nobody else sees it: memory://")
    from waybill_schema_registry.stores.memory import MemoryStore  # noqa: PLC0415 - as the others

    return MemoryStore()


def _sqlite(url: str, parts: SplitResult) -> Store:
    path = _path(parts)
    if path == ":memory:":
        raise ConfigurationError(f"{url}: for a registry in memory alone, use memory://")
    if parts.netloc:
        raise ConfigurationError(
            f"{_shown(url)}: a file takes three slashes (sqlite:///registry.db, relative to the working directory) or four "
            f"(sqlite:////var/lib/registry.db)"
        )
    if not path:
        raise ConfigurationError(f"{url} names no file: for instance sqlite:///registry.db. For memory only: memory://")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{_shown(url)}: a file takes no options; a ? or # in its name is written %3F or %23")
    from waybill_schema_registry.stores.sqlite import SQLiteStore  # noqa: PLC0415 - it needs a unix

    return SQLiteStore(path)


def _postgresql(url: str, parts: SplitResult) -> Store:
    _check_readable(parts)
    try:
        importlib.import_module("asyncpg")
    except ImportError:
        raise ConfigurationError(
            "PostgreSQL needs asyncpg. Install it with: pip install 'waybill[postgresql]'"
        ) from None
    from waybill_schema_registry.stores.postgresql import PostgreSQLStore  # noqa: PLC0415 - it needs asyncpg

    return PostgreSQLStore(url)


def _check_readable(parts: SplitResult) -> None:
    """Where a password with a `/`, `#` or `?` is not written as a URL wants it, its rest is taken for the path or the port."""
    hosts = parts.netloc.rpartition("@")[2]
    if "@" in parts.path + parts.query + parts.fragment or not all(map(HOST.fullmatch, hosts.split(","))):
        raise ConfigurationError(
            "the URL of PostgreSQL (not shown, for its password) cannot be read: in a user's name or password, write / as %2F, "
            "# as %23, ? as %3F, @ as %40, : as %3A and % as %25"
        )


def _shown(url: str) -> str:
    """Without secrets, also where somebody has mistaken the form of the URL."""
    unread = url.partition("://")[2].partition("/")[2] if "://" in url else url
    return "(a URL that cannot be read)" if "@" in unread else safe_url(url)


SCHEMES: dict[str, Callable[[str, SplitResult], Store]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "postgres": _postgresql,
}
