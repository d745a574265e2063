"""Aliases: a subject whose config names another one stands for that one (Confluent's `AliasFilter`)."""

from __future__ import annotations

from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.engine.subjects import split
from waybill_schema_registry.errors import NotFound

__all__ = ["aliased"]


async def aliased(engine: Engine, subject: str) -> str:
    """The subject that is meant. One step: an alias of an alias is not followed. A context has none."""
    if not split(subject).subject:
        return subject
    try:
        return (await engine.config(subject)).alias or subject
    except NotFound:
        return subject
