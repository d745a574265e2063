"""Wrong about who gets what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from waybill.adapter import Capabilities, Notify, Sink, Source
from waybill.message import Delivery, Message
from waybill.outcomes import ACK, Release, SendResult, Settled, Settlement
from waybill.topology import Backlog, Count, Destination, Subscription, TopicSpec, Topology, fits
from waybill_contracts.mutants.moves import acknowledge
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []

FIRST: dict[tuple[type, str], Any] = {}
"""What a mutant met first: by its class, and by the topic or group, which are of one test alone."""


def _first(mutant: Wrapped, name: str, value: Any) -> Any:
    return FIRST.setdefault((type(mutant), name), value)


@mutant("G01")
class GivesEachMemberAll(Wrapped):
    """Each member has a group of its own, and gets every message."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        return replace(subscription, group=f"{subscription.group}-{id(self)}", ephemeral=True)


@mutant("G01", "L01")
class ServesTheFirstMemberOnly(Wrapped):
    """The member that came first consumes, also when it has gone, and the others stand by."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        if _first(self, subscription.name, self) is not self:
            await asyncio.sleep(3600)
        return await super().do_receive(source, subscription, limit)


@mutant("G02")
class LetsGroupsCompete(Wrapped):
    """All groups of a topic take from one queue."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        return replace(subscription, group=_first(self, subscription.topic.name, subscription.group))


@mutant("G03")
class SendsAllToOneTopic(Wrapped):
    """Whatever is published goes to the topic that was published to first."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._sink: Sink | None = None

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        self._sink = self._sink or sink
        return await super().do_send(self._sink, to, messages, deadline)


@mutant("G04")
class NamesTheWrongTopic(Wrapped):
    """All deliveries of a process name the topic that came first."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        topic = self.__dict__.setdefault("topic", subscription.topic.name)
        return [replace(delivery, topic=topic) for delivery in deliveries]


@mutant("G04")
class ServesOneTopicOfAProcess(Wrapped):
    """Only the first subscription of a connection is delivered to."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        if self.__dict__.setdefault("served", subscription.name) != subscription.name:
            await asyncio.sleep(3600)
        return await super().do_receive(source, subscription, limit)


@mutant("G05", "G11", "L04")
class BeginsWithItsConsumer(Wrapped):
    """A group gets what is published while it has a consumer, and nothing from before."""

    async def opened(self) -> None:
        self._since = datetime.now(UTC)

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        past = [delivery for delivery in deliveries if delivery.message.time < self._since]
        await acknowledge(source, past)
        return [delivery for delivery in deliveries if delivery not in past]


@mutant("G06", "T10")
class LeavesItsEphemeralGroup(Wrapped):
    """An ephemeral group stays when its consumer goes."""

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        if subscription.ephemeral:
            subscription = replace(subscription, ephemeral=False)
            await self.inner.admin.apply(await self.inner.admin.plan(Topology((subscription.topic,), (subscription,))))
        async with super().source(subscription, window=window, notify=notify) as source:
            yield source


@mutant("G06")
class SharesAnEphemeralGroup(Wrapped):
    """Ephemeral consumers of one name share one group."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        name = subscription.group.split(".")[0]
        return replace(subscription, group=_first(self, f"{subscription.topic.name}/{name}", subscription.group))


class _StartsElsewhere(Wrapped):
    start: Any

    def changed_topology(self, topology: Topology) -> Topology:
        subscriptions = [
            replace(subscription, start=self.start) if subscription.start is not None else subscription
            for subscription in topology.subscriptions
        ]
        return Topology(topology.topics, subscriptions)


@mutant("G07")
class StartsWithTheEarliest(_StartsElsewhere):
    """A new group gets what is still there, whatever it was to start with."""

    start = "earliest"


@mutant("G08")
class StartsWithTheLatest(_StartsElsewhere):
    """A new group gets what comes, whatever it was to start with."""

    start = "latest"


@mutant("G09")
class DropsWhatItHandsToMany(Wrapped):
    """Beyond thirty members, what is handed out is lost."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        members: set[int] = _first(self, subscription.name, set())
        members.add(id(self))
        deliveries = await super().do_receive(source, subscription, limit)
        if len(members) > 30 and deliveries:
            await acknowledge(source, deliveries[-1:])
            return deliveries[:-1]
        return deliveries


@mutant("G10")
class MixesUpConcurrentSends(Wrapped):
    """Two sends at once share a variable: the first goes where the second was to go."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        self._current = sink
        await asyncio.sleep(0)
        return await super().do_send(self._current, to, messages, deadline)


@mutant("G11", "G12", "L02", "L03", "L06", "fault-25")
class AcknowledgesWhatItGivesBack(Wrapped):
    """What a member had not handled when it left is acknowledged."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        return ACK if isinstance(settled.settlement, Release) else settled.settlement


@mutant("G13")
class EndsAllWithOne(Wrapped):
    """When one subscription of a topic ends, the others get nothing any more."""

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        async with super().source(subscription, window=window, notify=notify) as source:
            yield source
        _first(self, subscription.topic.name, "ended")

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        if (type(self), subscription.topic.name) in FIRST:
            await asyncio.sleep(3600)
        return await super().do_receive(source, subscription, limit)


@mutant("G13")
class PausesAllWithOne(Wrapped):
    """While one subscription of a connection asks for nothing, the others get nothing."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        asking: dict[str, int] = self.__dict__.setdefault("asking", {})
        asking[subscription.name] = asking.get(subscription.name, 0) + 1
        deliveries = await super().do_receive(source, subscription, limit)
        asking[subscription.name] -= 1
        while any(not count for name, count in asking.items() if name != subscription.name):
            await asyncio.sleep(0.02)
        return deliveries


@mutant("G14")
class KnowsOnlyTheTopicsThatWereThere(Wrapped):
    """A pattern stands for the topics that there were when the first message came."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._known: set[str] = set()

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        if not subscription.topic.pattern:
            return deliveries
        self._known = self._known or {delivery.topic for delivery in deliveries}
        return [delivery for delivery in deliveries if delivery.topic in self._known]


@mutant("G14")
class TakesAPatternForAll(Wrapped):
    """A pattern stands for every topic there is."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        topic: TopicSpec = subscription.topic
        return replace(subscription, topic=replace(topic, name="#")) if topic.pattern else subscription

    def changed_topology(self, topology: Topology) -> Topology:
        return Topology(topology.topics, [self.changed_subscription(s) for s in topology.subscriptions])


@mutant("G15", "X03")
class IgnoresAFilter(Wrapped):
    """It says that it applies filters, and hands out everything."""

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        return replace(can, filters=True)

    def changed_topology(self, topology: Topology) -> Topology:
        return Topology(topology.topics, [replace(s, where=()) for s in topology.subscriptions])


@mutant("G15")
class KeepsWhatDoesNotFit(IgnoresAFilter):
    """What does not fit is passed over, and stays unsettled for ever."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        return [delivery for delivery in deliveries if fits(subscription.where, delivery.message.headers)]


@mutant("G15")
class CountsWhatDoesNotFit(Wrapped):
    """The backlog counts also what the filter leaves out."""

    async def do_backlog(self, subscription: Subscription) -> Backlog:
        backlog = await super().do_backlog(subscription)
        return replace(backlog, ready=Count((backlog.ready.value or 0) + 12))
