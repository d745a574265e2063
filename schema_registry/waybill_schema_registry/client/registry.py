"""`Registry`: a registry by its URL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from waybill_schema_registry.client.access import Access
from waybill_schema_registry.client.addresses import safe
from waybill_schema_registry.client.api import RegistryClient
from waybill_schema_registry.client.opening import opener

__all__ = ["Registry"]

P = ParamSpec("P")
C = TypeVar("C", bound=Coroutine[Any, Any, Any])


def _same(verb: Callable[Concatenate[Any, P], C]) -> Callable[Concatenate[Registry, P], C]:
    """The verb of whatever the URL means, opened when it is first used."""
    name = verb.__name__

    async def forward(self: Registry, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        door = await self._open()
        return await getattr(door, name)(*args, **kwargs)

    forward.__name__, forward.__qualname__, forward.__doc__ = name, f"Registry.{name}", verb.__doc__
    return cast("Callable[Concatenate[Registry, P], C]", forward)


class Registry:
    """A registry by its URL: `http://host:8081` (several with commas between), or a store in this process:
    `sqlite:///registry.db`, `postgresql://user@host/database`, `memory://`.

    It is a `RegistryClient`, connected when it is first used; `async with` or `aclose` gives back what it holds. One object
    may be used in several event loops, one after another or at once in their threads; what `memory://` holds lives as long as
    the object. access: how a registry over HTTP is reached. Raises `ConfigurationError` for what names no registry.
    """

    def __init__(self, url: str, access: Access | None = None) -> None:
        self._opener = opener(url, access)
        self._safe = safe(url)
        self._doors: dict[asyncio.AbstractEventLoop, asyncio.Task[RegistryClient]] = {}

    @property
    def url(self) -> str:
        """Without its password: for people."""
        return self._safe

    register_schema = _same(RegistryClient.register_schema)
    lookup_schema = _same(RegistryClient.lookup_schema)
    get_schema = _same(RegistryClient.get_schema)
    get_schema_by_guid = _same(RegistryClient.get_schema_by_guid)
    get_subjects = _same(RegistryClient.get_subjects)
    get_versions = _same(RegistryClient.get_versions)
    get_version = _same(RegistryClient.get_version)
    get_latest_version = _same(RegistryClient.get_latest_version)
    delete_subject = _same(RegistryClient.delete_subject)
    delete_version = _same(RegistryClient.delete_version)
    test_compatibility = _same(RegistryClient.test_compatibility)
    get_compatibility = _same(RegistryClient.get_compatibility)
    set_compatibility = _same(RegistryClient.set_compatibility)
    get_config = _same(RegistryClient.get_config)
    set_config = _same(RegistryClient.set_config)
    delete_config = _same(RegistryClient.delete_config)
    get_mode = _same(RegistryClient.get_mode)
    set_mode = _same(RegistryClient.set_mode)
    delete_mode = _same(RegistryClient.delete_mode)

    async def aclose(self) -> None:
        """Give back what was opened in this event loop. It may be used again, and twice is the same as once."""
        door = self._doors.pop(asyncio.get_running_loop(), None)
        if door is not None:
            await (await door).aclose()

    async def _open(self) -> RegistryClient:
        loop = asyncio.get_running_loop()
        door = self._doors.get(loop)
        if door is None:
            for other in [other for other in list(self._doors) if other.is_closed()]:
                self._doors.pop(other, None)
            door = self._doors[loop] = loop.create_task(self._opened())
        return await asyncio.shield(door)

    async def _opened(self) -> RegistryClient:
        try:
            return await self._opener()
        except BaseException:
            self._doors.pop(asyncio.get_running_loop(), None)
            raise

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Registry({self._safe!r})"
