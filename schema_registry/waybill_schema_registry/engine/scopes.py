"""Which config and which mode hold for a subject: its own, its context's, or what is said for all (`InMemoryCache.config`)."""

from __future__ import annotations

from collections.abc import Iterator

from waybill_schema_registry.engine.catalog import Catalog
from waybill_schema_registry.engine.subjects import GLOBAL, Name
from waybill_schema_registry.entities import Config, Mode
from waybill_schema_registry.levels import Level

__all__ = ["NOTHING_SAID", "config_in_scope", "mode_in_scope", "scopes"]

NOTHING_SAID = {level: Config(compatibility=level) for level in Level}


def scopes(name: Name) -> Iterator[str]:
    """From the narrowest to the widest. The default context's is the empty one, which is what `PUT /config` sets."""
    yield name.qualified
    if name.subject:
        yield name.scope
    if name.scope != GLOBAL:
        yield GLOBAL


def config_in_scope(catalog: Catalog, name: Name, level: Level) -> Config:
    """What holds, each setting from the narrowest scope that says something about it."""
    found = [own for scope in scopes(name) if (own := catalog.configs.get(scope)) is not None]
    merged = NOTHING_SAID[level]
    for own in reversed(found):
        merged = own.over(merged)
    return merged


def mode_in_scope(catalog: Catalog, name: Name) -> Mode:
    """The narrowest mode that was set; a wider READONLY_OVERRIDE beats it."""
    found = [mode for scope in scopes(name) if (mode := catalog.modes.get(scope)) is not None]
    if Mode.READONLY_OVERRIDE in found:
        return Mode.READONLY_OVERRIDE
    return found[0] if found else Mode.READWRITE
