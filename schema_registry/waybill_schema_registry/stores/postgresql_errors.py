"""What asyncpg raises, as `StoreError`s that name the fix."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has few annotations

from waybill.errors import ConfigurationError
from waybill.foreign import said
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.store import Moved

__all__ = ["translated"]

MEANINGS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (asyncpg.InvalidAuthorizationSpecificationError,),
        "it does not let this user in: check the user and the password of the store's URL",
    ),
    (
        (asyncpg.InvalidCatalogNameError,),
        "there is no such database: make it (CREATE DATABASE), or name another in the store's URL",
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        "this user may not do that: let it make a schema in the database, or make the schema for it and let it own that",
    ),
    ((asyncpg.ReadOnlySQLTransactionError,), "it takes no writes: name the primary, not a replica, in the store's URL"),
    ((asyncpg.DiskFullError,), "its disk is full: make room; nothing of this was kept, and what was confirmed is safe"),
    (
        (asyncpg.TooManyConnectionsError,),
        "it has no connection left: raise its max_connections, or run fewer registries",
    ),
    (
        (
            asyncpg.DuplicateTableError,
            asyncpg.UndefinedColumnError,
            asyncpg.UndefinedTableError,
            asyncpg.UndefinedFunctionError,
        ),
        "the schema holds tables that are not of a registry: name a schema of its own with ?schema=name in the store's URL",
    ),
    (
        (asyncpg.IntegrityConstraintViolationError,),
        "what was to be kept contradicts what is there, and nothing of it was kept",
    ),
    ((asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, TimeoutError), "it did not answer in time"),
    ((asyncpg.DataError,), "it cannot keep this, and nothing of it was kept"),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
        ),
        "it cannot be reached now",
    ),
    ((asyncpg.PostgresError,), "it reports an error"),
)
"""The first that fits."""
CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
LOG = "revisions_pkey"
"""The key at which two commits meet that were decided on the same revision."""


@contextmanager
def translated(doing: str) -> Generator[None, None, None]:
    """doing: what is done where, without a secret."""
    try:
        yield
    except CONFLICTS as error:
        raise Moved from error
    except asyncpg.ClientConfigurationError as error:
        raise ConfigurationError(f"{doing}: {said(error)}") from None  # what it was given may hold the password
    except Exception as error:
        if isinstance(error, asyncpg.UniqueViolationError) and getattr(error, "constraint_name", None) == LOG:
            raise Moved from error
        for kinds, text in MEANINGS:
            if isinstance(error, kinds):
                raise StoreError(f"{doing}: {text} ({said(error)})") from error
        raise
