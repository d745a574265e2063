"""An adapter around another one, which does everything as that does; a mutant overrides one thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from waybill.adapter import Adapter, Admin, Capabilities, Limits, Notify, Page, Sink, Source
from waybill.message import Delivery, Message
from waybill.outcomes import ExtendResult, SendResult, Settled, Settlement, SettlementKind, SettleResult
from waybill.topology import Backlog, Destination, Plan, Subscription, Topology

__all__ = ["Wrapped"]


class Wrapped:
    """Override a method that begins with `do_`, or with `changed_`: what is sent, handed out, settled or declared instead."""

    def __init__(self, inner: Adapter) -> None:
        self.inner = inner
        self.admin: Admin = _Admin(self)

    # ---------------------------------------------------------------- what a mutant overrides

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        del to
        return await sink.send([self.changed_message(message) for message in messages], deadline=deadline)

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        del subscription
        return [self.changed_delivery(delivery) for delivery in await source.receive(limit)]

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del subscription
        return await source.settle([Settled(item.delivery, self.changed_settlement(item)) for item in settled])

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        return await source.extend(deliveries)

    async def do_quiesce(self, source: Source) -> None:
        await source.quiesce()

    async def do_plan(self, topology: Topology) -> Plan:
        plan = await self.inner.admin.plan(self.changed_topology(topology))
        return replace(plan, topology=topology)

    async def do_apply(self, plan: Plan, allow: Collection[str]) -> None:
        await self.inner.admin.apply(replace(plan, topology=self.changed_topology(plan.topology)), allow=allow)

    async def do_backlog(self, subscription: Subscription) -> Backlog:
        return await self.inner.admin.backlog(subscription)

    async def do_browse(self, subscription: Subscription, after: str | None, limit: int) -> Page:
        return await self.inner.admin.browse(subscription, after=after, limit=limit)

    def changed_message(self, message: Message) -> Message:
        return message

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        return delivery

    def changed_settlement(self, settled: Settled) -> Settlement:
        return settled.settlement

    def changed_topology(self, topology: Topology) -> Topology:
        return topology

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        return can

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        """As the inner source is opened with."""
        return subscription

    async def opened(self) -> None:
        """After the inner adapter has connected."""

    async def closing(self) -> None:
        """Before the inner adapter is left."""

    # ---------------------------------------------------------------- what it can do

    async def put(self, to: Destination, messages: Sequence[Message]) -> None:
        """Store them there by the inner adapter."""
        if messages:
            async with self.inner.sink(to) as sink:
                await sink.send(messages, deadline=asyncio.get_running_loop().time() + 5)

    async def is_slow(self, seconds: float) -> bool:
        """Whether the broker needs longer than that for a write, of nothing."""
        inner: Any = self.inner
        asked: asyncio.Future[Any] = asyncio.ensure_future(inner._engine.write(_nothing))
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        return not (await asyncio.wait([asked], timeout=seconds))[0] or asked.exception() is not None

    # ---------------------------------------------------------------- the adapter

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        await self.opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.closing()
        await self.inner.__aexit__(kind, error, trace)

    @property
    def claims(self) -> Capabilities:
        return self.changed_capabilities(self.inner.claims)

    @property
    def capabilities(self) -> Capabilities:
        return self.changed_capabilities(self.inner.capabilities)

    @property
    def native_settlements(self) -> frozenset[SettlementKind]:
        return self.inner.native_settlements

    def gaps(self, topology: Topology) -> Sequence[str]:
        return self.inner.gaps(topology)

    def limits(self, destination: Destination) -> Limits:
        return self.inner.limits(destination)

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        async with self.inner.sink(destination) as sink:
            yield _Sink(self, sink, destination)

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        changed = self.changed_subscription(subscription)
        async with self.inner.source(changed, window=window, notify=notify) as source:
            yield _Source(self, source, subscription)

    @asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        async with self.inner.dead_letters(subscription) as source:
            yield source


class _Sink:
    def __init__(self, around: Wrapped, inner: Sink, destination: Destination) -> None:
        self._around = around
        self._inner = inner
        self._destination = destination

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        return await self._around.do_send(self._inner, self._destination, messages, deadline)


class _Source:
    def __init__(self, around: Wrapped, inner: Source, subscription: Subscription) -> None:
        self._around = around
        self._inner = inner
        self._subscription = subscription

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        return await self._around.do_receive(self._inner, self._subscription, limit)

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        return await self._around.do_settle(self._inner, self._subscription, settled)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        return await self._around.do_extend(self._inner, deliveries)

    async def quiesce(self) -> None:
        await self._around.do_quiesce(self._inner)


class _Admin:
    def __init__(self, around: Wrapped) -> None:
        self._around = around

    async def plan(self, topology: Topology) -> Plan:
        return await self._around.do_plan(topology)

    async def apply(self, plan: Plan, *, allow: Collection[str] = ()) -> None:
        await self._around.do_apply(plan, allow)

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        return await self._around.inner.admin.expand(subscription)

    async def backlog(self, subscription: Subscription) -> Backlog:
        return await self._around.do_backlog(subscription)

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        return await self._around.do_browse(subscription, after, limit)


def _nothing(_: object) -> None: ...
