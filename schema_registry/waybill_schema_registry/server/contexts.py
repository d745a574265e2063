"""Contexts: registries beside each other in one."""

from __future__ import annotations

from waybill_schema_registry.server.answers import Answer
from waybill_schema_registry.server.asking import Ask

__all__ = ["delete_context", "list_contexts"]


async def list_contexts(ask: Ask) -> list[str]:
    return (await ask.engine.contexts(ask.text("contextPrefix") or ""))[ask.page()]


async def delete_context(ask: Ask) -> Answer:
    await ask.engine.delete_context(ask.context.strip(":") or ".")
    return Answer(204, b"")
