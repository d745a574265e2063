"""The registry as an ASGI application, to be served by itself or mounted in another one.

app = application(Engine(store), Options())
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from starlette.applications import Starlette

from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.server.api import Api
from waybill_schema_registry.server.front import Front
from waybill_schema_registry.server.kept import Kept
from waybill_schema_registry.server.metrics import Metrics
from waybill_schema_registry.server.options import Options

__all__ = ["application"]


def application(engine: Engine, options: Options | None = None) -> Front:
    """Opens the engine when it starts, and closes it when it ends (the lifespan of ASGI). One that mounts it does that itself."""
    options = options or Options()
    metrics, kept = Metrics(options.worker), Kept(options.kept)

    @contextlib.asynccontextmanager
    async def running(_: Starlette) -> AsyncGenerator[None]:
        async with engine:
            yield

    inner = Starlette(lifespan=running)
    inner.router.default = Api(
        engine, options, metrics, kept
    )  # it routes by itself: a subject may hold a %2F or a line's end
    return Front(inner, engine, kept, options.users, metrics)
