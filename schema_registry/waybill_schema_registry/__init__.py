"""The schema registry of Waybill: a library, an HTTP server and a gate, one engine behind all of them.

    from waybill_schema_registry import Registry, Schema

    async with Registry("sqlite:///registry.db") as registry:      # or http://…, postgresql://…, memory://
        version = await registry.register_schema("orders.placed-value", Schema(text=text))

`SyncRegistry` is the same for code that cannot await. What these names need is imported when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waybill_schema_registry.client.access import Access
    from waybill_schema_registry.client.registry import Registry
    from waybill_schema_registry.client.sync import SyncRegistry
    from waybill_schema_registry.entities import Config, Metadata, Mode, Reference, Schema, Version
    from waybill_schema_registry.errors import (
        Conflict,
        Forbidden,
        Incompatible,
        Invalid,
        InvalidSchema,
        NotFound,
        RegistryError,
        RegistryUnavailable,
        StoreError,
    )
    from waybill_schema_registry.levels import Level

__all__ = [
    "Access",
    "Config",
    "Conflict",
    "Forbidden",
    "Incompatible",
    "Invalid",
    "InvalidSchema",
    "Level",
    "Metadata",
    "Mode",
    "NotFound",
    "Reference",
    "Registry",
    "RegistryError",
    "RegistryUnavailable",
    "Schema",
    "StoreError",
    "SyncRegistry",
    "Version",
]

HOMES = {
    "Access": "client.access",
    "Config": "entities",
    "Level": "levels",
    "Metadata": "entities",
    "Mode": "entities",
    "Reference": "entities",
    "Registry": "client.registry",
    "Schema": "entities",
    "SyncRegistry": "client.sync",
    "Version": "entities",
}
"""Where a name is; the others are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES.get(name, 'errors')}"), name)
