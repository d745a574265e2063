"""What operations on dead letters are planned and carried out with: the application, its brokers, and the index."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from waybill.adapter import Adapter
from waybill.cli.application import find_topic, reference_of
from waybill.cli.choosing import Place, resolved
from waybill.cli.letters import Wanted, declared, groups, select
from waybill.errors import ConfigurationError
from waybill.history import KeepsHistory
from waybill.topology import Destination, Subscription, TopicSpec, matches

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.brokers import Brokers
    from waybill.dlq.index import Index
    from waybill.dlq.model import Query
    from waybill.dlq.operation import Operation, Orders, Verb
    from waybill.dlq.planning import Check, Plan
    from waybill.dlq.running import Brake
    from waybill.dlq.watching import Seen

__all__ = ["Ask", "Bench", "Planned", "bench_of", "plans"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is to be done, with which letters, how, by whom and why. `to`: a topic, or `topic/group`; else where they failed."""

    verb: Verb
    wanted: Wanted
    query: Query
    orders: Orders
    by: str
    to: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """What would become of one group's letters."""

    subscription: Subscription
    query: Query
    orders: Orders
    plan: Plan


class Bench:
    """Brokers that are connected, and an index that is open."""

    def __init__(self, place: Place, app: App, brokers: Brokers, index: Index) -> None:
        from waybill.dlq.operations import Operations  # noqa: PLC0415 - `waybill --help` need not load it

        self.place = place
        self.app = app
        self.brokers = brokers
        self.index = index
        self.operations = Operations(index)

    def adapter(self, topic: TopicSpec) -> Adapter:
        return self.brokers.of(topic)

    def undecided(self, subscription: Subscription) -> Sequence[Operation]:
        """Operations of that group of whose letters it is not known yet what has become of all."""
        return [operation for operation in self.operations.undecided() if operation.name == subscription.name]

    async def decide(self, subscription: Subscription, seen: Seen) -> int:
        """Find out what has become of the group's letters that were sent back. How many are newly resolved."""
        from waybill.dlq.running import decide  # noqa: PLC0415 - `waybill --help` need not load it

        adapter, resolved = self.adapter(subscription.topic), 0
        for operation in self.undecided(subscription):
            before, to = self.operations.progress(operation).resolved, self._known(operation.to)
            progress = await decide(adapter, subscription, self.operations, operation, to=to, seen=seen)
            resolved += progress.resolved - before
        return resolved

    def _known(self, to: str) -> tuple[Adapter, Destination] | None:
        """`None` also for a place that the application, or a setting, has no more: only consumers can tell of it then."""
        try:
            place = self.destination(to)
            return None if place is None else (self.adapter(place.topic), place)
        except ConfigurationError:
            return None

    def brakes(self, subscription: Subscription) -> Sequence[Brake]:
        """What keeps a redrive waiting: the group's circuits, where the settings say how its processes tell of them."""
        folder = self.place.settings().status_dir
        if folder is None:
            return ()
        from waybill.dlq.brakes import circuits  # noqa: PLC0415 - `waybill --help` need not load it

        return [circuits(folder, declared(self.app, subscription).name)]

    def begin(self, ask: Ask, planned: Planned) -> Operation:
        """An operation on what was planned."""
        return self.operations.begin(
            ask.verb, planned.subscription, planned.query, planned.orders, to=ask.to, by=ask.by, why=ask.why
        )

    def destination(self, to: str) -> Destination | None:
        """Where copies go. Raises `ConfigurationError` for a topic that the application does not know."""
        if not to:
            return None
        name, _, group = to.partition("/")
        topic = find_topic(self.app, reference_of(self.place.app, url=self.place.url, dev=self.place.dev), name).spec
        return Destination("group", topic, group) if group else Destination("topic", topic)

    def check(self, subscription: Subscription, to: Destination | None) -> Check | None:
        """Whether today's contract can read what is sent there, else to the group; `None`: the application does not consume it.

        Groups may read one topic as different types. Of a group that is not the application's any of the topic's own is asked.
        """
        from waybill.dlq.planning import checking  # noqa: PLC0415 - `waybill --help` need not load it

        topic, group = (to.topic.name, to.group) if to else (subscription.topic.name, subscription.group)
        found = [
            registration
            for registration in self.app.registrations
            if (
                matches(registration.topic.spec.name, topic)
                if registration.topic.spec.pattern
                else registration.topic.spec.name == topic
            )
        ]
        found.sort(key=lambda registration: registration.subscription.group != group)
        return checking(found[0].topic, self.place.marked()) if found else None

    async def subscription(self, operation: Operation) -> Subscription:
        """The group whose letters these are. Raises `ConfigurationError` where it is none of the application's."""
        for subscription in await groups(self.app, self.brokers.admin):
            if (subscription.topic.name, subscription.group) == (operation.topic, operation.group):
                return subscription
        raise ConfigurationError(
            f"operation {operation.id} is about {operation.name}, which {self.app.name} does not consume: name the "
            f"application that does with --app"
        )


@asynccontextmanager
async def bench_of(place: Place, *, create: bool = False) -> AsyncGenerator[Bench, None]:
    """create: make the index if there is none. Raises `ConfigurationError` and `BrokerError`."""
    app = place.open()
    with place.index(create=create) as index:
        async with app.connected() as brokers:
            yield Bench(place, app, brokers, index)


async def plans(bench: Bench, ask: Ask) -> list[Planned]:
    """What would become of each group's letters, as the broker has them now. The limit is for all of them together."""
    from waybill.dlq.collecting import collect  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.dlq.planning import plan  # noqa: PLC0415

    to = bench.destination(ask.to)
    subscriptions = await select(bench.app, bench.brokers.admin, ask.wanted)
    for subscription in subscriptions:
        await collect(bench.brokers.admin, subscription, bench.index)
    query = resolved(bench.index, ask.query)
    made: list[Planned] = []
    policy = bench.place.policy()
    room = ask.orders.limit
    for subscription in subscriptions:
        if room == 0:
            break
        limit = policy.of(subscription.topic.name, subscription.group).redrive_limit
        orders = msgspec.structs.replace(ask.orders, limit=room, most_redrives=limit)
        again = ask.verb == "redrive"
        adapter = bench.adapter(subscription.topic)
        found = await plan(
            bench.index,
            subscription,
            query,
            orders,
            to=to,
            check=bench.check(subscription, to) if again else None,
            history=adapter if again and adapter.capabilities.replays and isinstance(adapter, KeepsHistory) else None,
            again=again,
        )
        made.append(Planned(subscription, query, orders, found))
        room = None if room is None else room - found.count
    return made
