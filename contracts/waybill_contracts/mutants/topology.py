"""Wrong about what exists, and what it was asked to change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import ClassVar

from msgspec.structs import replace

from waybill.adapter import Notify, Sink, Source
from waybill.errors import BrokerError, DestinationMissing
from waybill.topology import Change, Destination, Plan, Subscription, TopicSpec, Topology
from waybill_contracts.mutants.moves import acknowledge
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("T01")
class AlwaysFindsSomethingToDo(Wrapped):
    """Its plan lists what is there as if it had to be created."""

    async def do_plan(self, topology: Topology) -> Plan:
        return Plan(topology, [Change("create", f"topic {topic.name}") for topic in topology.topics])


@mutant("T01")
class FailsWhenItExists(Wrapped):
    """Declaring what is there is an error."""

    async def do_apply(self, plan: Plan, allow: Collection[str]) -> None:
        if not plan.changes:
            raise BrokerError("it exists already")
        await super().do_apply(plan, allow)


@mutant("T02", "T06")
class LooksAtTopicsOnly(Wrapped):
    """Its plan says nothing of groups."""

    async def do_plan(self, topology: Topology) -> Plan:
        plan = await super().do_plan(topology)
        return replace(plan, changes=[change for change in plan.changes if change.what.startswith("topic ")])


@mutant("T02")
class NamesTheFirstOnly(Wrapped):
    """Its plan ends at the first thing that is missing."""

    async def do_plan(self, topology: Topology) -> Plan:
        plan = await super().do_plan(topology)
        return replace(plan, changes=plan.changes[:1])


@mutant("T02", "T06")
class CreatesWhatItPlans(Wrapped):
    """It finds out what is missing by creating it."""

    async def do_plan(self, topology: Topology) -> Plan:
        plan = await super().do_plan(topology)
        await self.inner.admin.apply(plan)
        return plan


@mutant("T03")
class CreatesAtTheFirstUse(Wrapped):
    """A topic that is missing is created by whoever uses it first."""

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        await self.inner.admin.apply(await self.inner.admin.plan(Topology((destination.topic,), ())))
        async with super().sink(destination) as sink:
            yield sink


@mutant("T03")
class WaitsForWhatIsMissing(Wrapped):
    """Who consumes what is missing waits until it is there, for ever and in silence."""

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        while True:
            try:
                async with super().source(subscription, window=window, notify=notify) as source:
                    yield source
                    return
            except DestinationMissing:
                await asyncio.sleep(1.0)


@mutant("T04")
class OverlooksWhatDiffers(Wrapped):
    """What is there is as it should be, whatever it promises."""

    async def do_plan(self, topology: Topology) -> Plan:
        plan = await super().do_plan(topology)
        return replace(plan, changes=[change for change in plan.changes if change.action == "create"])


@mutant("T04")
class ChangesWhatDiffers(Wrapped):
    """What differs is changed without having been allowed."""

    async def do_apply(self, plan: Plan, allow: Collection[str]) -> None:
        await super().do_apply(plan, [*allow, *(change.what for change in plan.changes)])


@mutant("T04")
class SaysNotWhatDiffers(Wrapped):
    """Something differs, and it does not say what."""

    async def do_plan(self, topology: Topology) -> Plan:
        plan = await super().do_plan(topology)
        return replace(plan, changes=[replace(change, detail="") for change in plan.changes])


@mutant("T05")
class ExpectsToBeAlone(Wrapped):
    """It looks what is missing, and fails when another has created it by then."""

    async def do_apply(self, plan: Plan, allow: Collection[str]) -> None:
        await asyncio.sleep(4.0)  # on a busy machine ten processes need so long to have looked
        if not (await super().do_plan(plan.topology)).changes:
            raise BrokerError("it exists already")
        await super().do_apply(plan, allow)


class Renames(Wrapped):
    """Override `renamed`: what a topic is called on the broker."""

    def renamed(self, name: str) -> str:
        return name

    def _topic(self, topic: TopicSpec) -> TopicSpec:
        return replace(topic, name=self.renamed(topic.name))

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        return replace(subscription, topic=self._topic(subscription.topic))

    def changed_topology(self, topology: Topology) -> Topology:
        subscriptions = {s.name: s for s in map(self.changed_subscription, topology.subscriptions)}
        return Topology(list(dict.fromkeys(map(self._topic, topology.topics))), list(subscriptions.values()))

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        async with super().sink(replace(destination, topic=self._topic(destination.topic))) as sink:
            yield sink


@mutant("T08")
class CutsNames(Renames):
    """A name is cut at eighty characters."""

    def renamed(self, name: str) -> str:
        return name[:80]


@mutant("T08")
class HasFewerLetters(Renames):
    """What the broker does not take in a name becomes a dash."""

    def renamed(self, name: str) -> str:
        return name.replace(".", "-").replace("_", "-")


@mutant("T08")
class IgnoresTheCaseOfNames(Renames):
    """Names are the same whatever their case."""

    def renamed(self, name: str) -> str:
        return name.lower()


@mutant("T10")
class EmptiesTheTopic(Wrapped):
    """When a group goes with its process its topic's messages go, whoever has still to handle them."""

    known: ClassVar[dict[str, dict[str, Subscription]]] = {}

    async def do_plan(self, topology: Topology) -> Plan:
        for subscription in topology.subscriptions:
            self.known.setdefault(subscription.topic.name, {})[subscription.group] = subscription
        return await super().do_plan(topology)

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        async with super().source(subscription, window=window, notify=notify) as source:
            yield source
        for other in self.known.get(subscription.topic.name, {}).values() if subscription.ephemeral else ():
            async with self.emptied(other, notify) as found:
                await _empty(found)

    def emptied(self, other: Subscription, notify: Notify) -> AbstractAsyncContextManager[Source]:
        return self.inner.source(other, window=100, notify=notify)


@mutant("T10")
class TakesTheDeadLettersOfOthers(EmptiesTheTopic):
    """Dead letters lie in one place, and go with the first group that goes."""

    def emptied(self, other: Subscription, notify: Notify) -> AbstractAsyncContextManager[Source]:
        del notify
        return self.inner.dead_letters(other)


async def _empty(source: Source) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            while found := await source.receive(100):
                await acknowledge(source, found)
