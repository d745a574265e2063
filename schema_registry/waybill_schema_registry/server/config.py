"""Settings of a subject, of a context, and of all."""

from __future__ import annotations

from typing import Any

import msgspec

from waybill_schema_registry.entities import Config
from waybill_schema_registry.server.asking import MALFORMED, Ask
from waybill_schema_registry.server.failures import Refused
from waybill_schema_registry.server.shapes import ConfigAnswer, config_of, shaped_config

__all__ = ["delete_config", "get_config", "set_config"]


async def get_config(ask: Ask) -> ConfigAnswer:
    return shaped_config(await ask.engine.config(ask.scope, default_to_global=ask.flag("defaultToGlobal")))


async def set_config(ask: Ask) -> Config:
    try:
        config = config_of(ask.read(dict[str, Any]))
    except msgspec.ValidationError as error:
        raise Refused(400, MALFORMED.format(error)) from error
    return await ask.engine.set_config(config, ask.scope)


async def delete_config(ask: Ask) -> ConfigAnswer:
    return shaped_config(await ask.engine.delete_config(ask.scope))
