"""A way in or out that an adapter opens and closes, as the context manager that the core enters."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

__all__ = ["Openable", "opened"]


class Openable(Protocol):
    """What can be opened once, and closed if it was."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...


W = TypeVar("W", bound=Openable)


@asynccontextmanager
async def opened(way: W) -> AsyncGenerator[W, None]:
    """Open it for as long as the block lasts. One that cannot be opened is not closed."""
    await way.open()
    try:
        yield way
    finally:
        await way.close()
