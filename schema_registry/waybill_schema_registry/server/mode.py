"""What may be written: to a subject, to a context, at all."""

from __future__ import annotations

from waybill_schema_registry.server.asking import Ask
from waybill_schema_registry.server.shapes import ModeBody

__all__ = ["delete_mode", "get_mode", "set_mode"]


async def get_mode(ask: Ask) -> ModeBody:
    return ModeBody(await ask.engine.mode(ask.scope, default_to_global=ask.flag("defaultToGlobal")))


async def set_mode(ask: Ask) -> ModeBody:
    return ModeBody(await ask.engine.set_mode(ask.read(ModeBody).as_mode(), ask.scope, force=ask.flag("force")))


async def delete_mode(ask: Ask) -> ModeBody:
    return ModeBody(await ask.engine.delete_mode(ask.scope, recursive=ask.flag("recursive")))
