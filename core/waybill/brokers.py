"""The brokers of one application: usually one; where there are more, a topic says by name on which it lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from waybill.adapter import Adapter, Admin, Page
from waybill.calling import Called
from waybill.errors import ConfigurationError
from waybill.topology import Backlog, Change, Plan, Subscription, TopicSpec, Topology

__all__ = ["Brokers", "any_topic", "on_each"]


class Brokers:
    """Each topic's own adapter. `None` names the default one, which may stand for all others as well (in a test)."""

    def __init__(self, adapters: Mapping[str | None, Adapter], *, everywhere: bool = False) -> None:
        self._adapters = adapters
        self._everywhere = everywhere
        self.admin: Admin = Routed(self)

    def each(self, around: Callable[[Adapter], Adapter]) -> Brokers:
        """The same brokers, each adapter as `around` makes it."""
        return Brokers({name: around(adapter) for name, adapter in self._adapters.items()}, everywhere=self._everywhere)

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Brokers, None]:
        """Connect to all of them. Raises `BrokerError`."""
        async with AsyncExitStack() as stack:
            for adapter in self._adapters.values():
                await stack.enter_async_context(adapter)
            yield self

    def of(self, topic: TopicSpec) -> Adapter:
        """The adapter of the broker that the topic lies on. Raises `ConfigurationError`."""
        adapter = self._adapters.get(None if self._everywhere else topic.broker)
        if adapter is not None:
            return adapter
        if topic.broker is None:
            raise ConfigurationError(f"{topic.name} names no broker, and no default one is configured: set `url`")
        known = ", ".join(sorted(name for name in self._adapters if name)) or "none"
        raise ConfigurationError(
            f"{topic.name} lies on broker {topic.broker!r}, which no setting names: [brokers] {topic.broker} = 'URL' in "
            f"waybill.toml, or WAYBILL_BROKERS__{topic.broker.upper()}. Named are: {known}"
        )

    def called(self) -> Counter[str]:
        """Calls made so far, by their kind, of brokers that are paid by the call."""
        counted: Counter[str] = Counter()
        for adapter in {id(adapter): adapter for adapter in self._adapters.values()}.values():
            if isinstance(adapter, Called):
                counted.update(adapter.called)
        return counted

    @property
    def all(self) -> Mapping[str | None, Adapter]:
        return self._adapters


def on_each(topology: Topology) -> dict[str | None, Topology]:
    """The part of each broker, by its name."""
    names = dict.fromkeys(
        [topic.broker for topic in topology.topics] + [s.topic.broker for s in topology.subscriptions]
    )
    return {
        name: Topology(
            [topic for topic in topology.topics if topic.broker == name],
            [subscription for subscription in topology.subscriptions if subscription.topic.broker == name],
        )
        for name in names
    }


def any_topic(topology: Topology) -> TopicSpec:
    """One of its topics; what is on one broker has all of them there."""
    return next(iter((*topology.topics, *(subscription.topic for subscription in topology.subscriptions))))


class Routed:
    """`Admin` over all of the brokers."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    def _admin(self, topic: TopicSpec) -> Admin:
        return self._brokers.of(topic).admin

    async def plan(self, topology: Topology) -> Plan:
        changes: list[Change] = []
        for part in on_each(topology).values():
            changes += (await self._of(part).plan(part)).changes
        return Plan(topology, changes)

    async def apply(self, plan: Plan, *, allow: Collection[str] = ()) -> None:
        for part in on_each(plan.topology).values():
            admin = self._of(part)
            await admin.apply(await admin.plan(part), allow=allow)

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        return await self._admin(subscription.topic).expand(subscription)

    async def backlog(self, subscription: Subscription) -> Backlog:
        return await self._admin(subscription.topic).backlog(subscription)

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        return await self._admin(subscription.topic).browse(subscription, after=after, limit=limit)

    def _of(self, part: Topology) -> Admin:
        return self._admin(any_topic(part))
