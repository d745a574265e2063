"""The embedded broker with what a file has not: connections to cut, users, servers, partitions.

Sound: every promise that needs such a thing holds on it, which `make mutants` shows before it looks at the mutants of it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec

from waybill import BrokerOptions
from waybill.adapter import Notify, Resumed, Revoked, Source, Stalled
from waybill.errors import BrokerError, BrokerUnavailable
from waybill.message import Delivery
from waybill.outcomes import ExtendResult, Settled, SettleResult
from waybill.topology import Change, Plan, Subscription, Topology
from waybill_contracts.harness import Broker
from waybill_contracts.mutants.wrapping import Wrapped

__all__ = ["Partitions", "StandIn", "with_servers"]

PAUSE = 0.3
"""Seconds between two servers that are restarted in turn."""


@dataclass(frozen=True)
class Partitions(BrokerOptions):
    """How many a topic has."""

    number: int


class StandIn(Wrapped):
    """Override what a mutant of it does wrong. `user`: `guest` may declare nothing, `stranger` may nothing at all."""

    connected: ClassVar[defaultdict[str, set[StandIn]]] = defaultdict(set)
    """Who is, by the file."""
    partitions: ClassVar[dict[tuple[str, str], int]] = {}
    """By file and topic."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.file: str = inner._engine.location.name
        self.links: set[Link] = set()
        self.user = ""

    async def __aenter__(self) -> Self:
        if self.user == "stranger":
            await self.refuse()
        await super().__aenter__()
        self.connected[self.file].add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connected[self.file].discard(self)
        await super().__aexit__(kind, error, trace)

    async def refuse(self) -> None:
        raise BrokerUnavailable("it knows no such user: check the URL")

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        link = Link(self, subscription, window, notify)
        await link.open()
        self.links.add(link)
        try:
            yield link
        finally:
            self.links.discard(link)
            await link.leave()

    def inner_source(self, subscription: Subscription, window: int, notify: Notify) -> Any:
        """As it is without connections that can be cut."""
        return super().source(subscription, window=window, notify=notify)

    async def cut(self) -> None:
        """Every way out is lost, with what was handed out over it, and made anew."""
        for link in list(self.links):
            await link.cut()

    async def lose(self, source: Source, out: Sequence[Delivery[Any]]) -> None:
        """What becomes of what was handed out when the connection is cut: leaving the source gives it back."""

    async def do_plan(self, topology: Topology) -> Plan:
        plan = await super().do_plan(topology)
        changes = list(plan.changes)
        for name, wanted in _wanted(topology):
            there = self.partitions.get((self.file, name), wanted)
            if there != wanted:
                changes.append(Change("differs", f"topic {name}", self.difference(there, wanted)))
        return msgspec.structs.replace(plan, changes=changes)

    def difference(self, there: int, wanted: int) -> str:
        return f"it has {there} partitions, not {wanted}: keys move to others"

    async def do_apply(self, plan: Plan, allow: Collection[str]) -> None:
        if self.user == "guest" and plan.changes:
            self.deny(plan)
        await super().do_apply(plan, allow)
        for name, wanted in _wanted(plan.topology):
            there = self.partitions.setdefault((self.file, name), wanted)
            if there != wanted and f"topic {name}" in allow:
                self.partition(name, there, wanted)

    def deny(self, plan: Plan) -> None:
        raise BrokerError(f"guest may not create {', '.join(change.what for change in plan.changes)}")

    def partition(self, name: str, there: int, wanted: int) -> None:
        if wanted < there:
            raise BrokerError(f"topic {name} has {there} partitions, and cannot have less")
        self.partitions[self.file, name] = wanted


def _wanted(topology: Topology) -> list[tuple[str, int]]:
    return [
        (topic.name, option.number)
        for topic in topology.topics
        for option in topic.options
        if isinstance(option, Partitions)
    ]


class Link:
    """A way out over a connection. What was handed out over one that was cut is nobody's: its results are `Lost`."""

    def __init__(self, around: StandIn, subscription: Subscription, window: int, notify: Notify) -> None:
        self._around = around
        self._subscription = subscription
        self._window = window
        self._notify = notify
        self._out: list[Delivery[Any]] = []
        self._whole = asyncio.Event()

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        opened = self._around.inner_source(self._subscription, self._window, self._notify)
        self._source: Source = await self._stack.enter_async_context(opened)
        self._whole.set()

    async def leave(self) -> None:
        await self._stack.aclose()

    async def cut(self) -> None:
        self._whole.clear()
        self._notify(Stalled("the connection was cut"))
        await self._around.lose(self._source, self._out)
        await self.leave()
        self._notify(Revoked(self._out))
        self._out = []
        await self.open()
        self._notify(Resumed())

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        await self._whole.wait()
        source = self._source
        deliveries = await source.receive(limit)
        if source is not self._source or not self._whole.is_set():
            return ()  # they went with the connection
        self._out += deliveries
        return deliveries

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        await self._whole.wait()
        return await self._source.settle(settled)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        await self._whole.wait()
        return await self._source.extend(deliveries)

    async def quiesce(self) -> None:
        await self._whole.wait()
        await self._source.quiesce()


def with_servers(broker: Broker, path: str) -> Broker:
    """The same broker, of which more can be asked."""

    async def cut() -> None:
        for adapter in list(StandIn.connected[path]):
            with suppress(BrokerError):
                await adapter.cut()

    async def rolling() -> None:
        for _ in range(3):
            await cut()
            await asyncio.sleep(PAUSE)

    return replace(
        broker,
        cut=cut,
        rolling=rolling,
        credentials=f"{broker.url}?stranger",
        permissions=f"{broker.url}?guest",
        partitions=Partitions,
        cannot={},
    )
