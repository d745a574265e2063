"""An adapter looked at from outside: everything is passed on, and its ways in and out can be replaced by ones that see."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from waybill.adapter import Adapter, Notify, Sink, Source
from waybill.message import Delivery
from waybill.outcomes import ExtendResult, Settled, SettleResult
from waybill.topology import Destination, Subscription

__all__ = ["Seen", "SeenSource", "covering", "seen"]


class SeenSource:
    """A source that passes everything on. What is to be seen is overridden."""

    __slots__ = ("inner",)

    def __init__(self, inner: Source) -> None:
        self.inner = inner

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        return await self.inner.receive(limit)

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        return await self.inner.settle(settled)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        return await self.inner.extend(deliveries)

    async def quiesce(self) -> None:
        await self.inner.quiesce()


def seen(
    inner: Adapter,
    *,
    sink: Callable[[Sink, Destination], Sink],
    source: Callable[[Source, Subscription], Source],
) -> Adapter:
    """An adapter that does what `inner` does, its sinks and sources as these make them."""
    return covering(inner, _Replacing, sink, source)


def covering(inner: Adapter, kind: type[Seen], *given: Any) -> Adapter:
    """An adapter of that `kind` around `inner`, made with what is `given`.

    What `inner` offers beside `Adapter`, by the protocols that are looked for at run time, it offers as well. From Python
    3.12 on these are looked for in the class alone, so each adapter's class gets one of its own.
    """
    offers = type(inner)
    offered = {name: _passed_on(name) for name in dir(offers) if not name.startswith("_") and not hasattr(kind, name)}
    made: Any = type(f"{kind.__name__.lstrip('_')}{offers.__name__}", (kind,), offered)
    found: Adapter = made(inner, *given)
    return found


def _passed_on(name: str) -> property:
    return property(lambda self: getattr(self.inner, name))


class Seen:
    """Passes everything on. What is to be seen is overridden."""

    def __init__(self, inner: Adapter) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:  # what is in no class
        return getattr(self.inner, name)

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self.inner.__aexit__(kind, error, trace)


class _Replacing(Seen):
    def __init__(
        self,
        inner: Adapter,
        sink: Callable[[Sink, Destination], Sink],
        source: Callable[[Source, Subscription], Source],
    ) -> None:
        super().__init__(inner)
        self._sink = sink
        self._source = source

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        async with self.inner.sink(destination) as sink:
            yield self._sink(sink, destination)

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        async with self.inner.source(subscription, window=window, notify=notify) as source:
            yield self._source(source, subscription)
