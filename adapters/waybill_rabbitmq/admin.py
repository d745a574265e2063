"""What exists on the broker, what is missing, what lies before each group, and its dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress

from waybill.adapter import Page
from waybill.clock import Clock
from waybill.errors import BrokerError, ConfigurationError
from waybill.foreign import NotPermitted
from waybill.topology import Backlog, Change, Count, Exactness, Plan, Subscription, TopicSpec, Topology
from waybill_rabbitmq import names, objects
from waybill_rabbitmq.browsing import Browser
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.management import Management
from waybill_rabbitmq.objects import Binding, Shape
from waybill_rabbitmq.shapes import Shapes, compare, drift
from waybill_rabbitmq.survey import Survey

__all__ = ["RabbitAdmin"]

log = logging.getLogger("waybill.rabbitmq")

NOTHING = Count(None, Exactness.UNKNOWN)


class RabbitAdmin:
    """Declares topics and groups, counts, and shows dead letters."""

    def __init__(
        self, line: Line, shapes: Shapes, clock: Clock, management: Management | None, *, delivery_limit: int
    ) -> None:
        self._line = line
        self._shapes = shapes
        self._management = management
        self._browser = Browser(line, clock)
        self._limit = delivery_limit
        self._founded = False
        self._groups: dict[str, set[str]] = {}

    def groups_of(self, topic: TopicSpec) -> int:
        """How many groups share a topic, as far as this process was told."""
        return len(self._groups.get(topic.name, ()))

    async def plan(self, topology: Topology) -> Plan:
        survey = await self._survey()
        changes: list[Change] = []
        async with Hand(self._line) as hand:
            if survey is not None:
                founded = await compare(hand, survey, "delays and retries", objects.infrastructure())
                changes += [change for change in founded if change.action == "differs"]
                self._founded = not [change for change in founded if change.action == "create"]
            elif not self._founded:
                self._founded = not await hand.visible(names.LOST) or await hand.queue(names.LOST) is not None
            for topic in sorted(topology.topics, key=lambda topic: topic.name):
                with suppress(NotPermitted):  # what we may not look at, from 4.3 on, is somebody else's to make
                    changes += await self._topic(hand, survey, topic)
            for subscription in topology.subscriptions:
                self._groups.setdefault(subscription.topic.name, set()).add(subscription.group)
                with suppress(NotPermitted):
                    changes += await drift(hand, survey, subscription, self._limit)
        return Plan(topology, tuple(changes))

    async def _topic(self, hand: Hand, survey: Survey | None, topic: TopicSpec) -> Sequence[Change]:
        what = f"topic {topic.name}"
        if not (await hand.exchange(names.exchange(topic)) and self._founded):
            return [Change("create", what)]
        return await compare(hand, survey, what, objects.topic(topic))

    async def _survey(self) -> Survey | None:
        """What the management API shows, if there is one. It is an aid: that it does not answer stops nobody."""
        if self._management is None:
            return None
        try:
            return await self._management.survey()
        except BrokerError as error:
            log.warning("%s. Comparing without it: of each object, no more than the first difference is seen", error)
            return None

    async def apply(self, plan: Plan, *, allow: Collection[str] = ()) -> None:
        wanted = {c.what: c.action for c in plan.changes if c.action == "create" or c.what in allow}
        if not wanted:
            return
        async with Hand(self._line) as hand:
            if not self._founded:
                await hand.make(objects.infrastructure())
                self._founded = True
            specs = {topic.name: topic for topic in plan.topology.topics}
            specs |= {s.topic.name: s.topic for s in plan.topology.subscriptions if f"group {s.name}" in wanted}
            for spec in specs.values():
                await hand.make(objects.topic(spec))
            for subscription in plan.topology.subscriptions:
                if (action := wanted.get(f"group {subscription.name}")) is not None:
                    await self._make(hand, subscription, allowed=action != "create")
                elif f"topic {subscription.topic.name}" in wanted:  # its exchange is new, and nothing is bound to it
                    await hand.make((objects.share(subscription),))

    async def _make(self, hand: Hand, subscription: Subscription, *, allowed: bool) -> None:
        found = await self._shapes.find(hand, subscription)
        shape = Shape.of(subscription)
        if allowed and found is not None and found.partitions >= shape.partitions:
            raise ConfigurationError(
                f"{subscription.name}: a queue's arguments cannot be changed, and partitions are never taken away. Set "
                f"a policy for what may be one, or delete the queue when it is empty, and apply again"
            )
        if found is not None and subscription.by_contract and not shape.partitions:
            shape = found
        await hand.make(objects.group(subscription, shape, delivery_limit=self._limit))
        if found is not None and shape.partitions and not found.partitions:
            where = subscription.topic, subscription.group
            rest = Binding(names.rest(*where), names.inbox(*where), "", "queue")
            await hand.unbind(rest)  # what lies there is handled first: Earlier
        self._shapes.forget(subscription)

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        return [subscription]

    async def backlog(self, subscription: Subscription) -> Backlog:
        where = subscription.topic, subscription.group
        ready = dead = in_flight = NOTHING
        async with Hand(self._line) as hand:
            with suppress(NotPermitted):
                if (shape := await self._shapes.find(hand, subscription)) is not None:
                    looks = [self._ready(name) for name in {*shape.queues(subscription), names.inbox(*where)}]
                    ready = Count(sum(await asyncio.gather(*looks)))
                    in_flight = await self._in_flight(shape.queues(subscription))
            with suppress(NotPermitted):
                letters = await hand.queue(names.dead(*where))
                if letters is not None:  # the queue's length is without what its consumers hold
                    dead = Count(letters.messages, Exactness.AT_LEAST if letters.consumers else Exactness.EXACT)
        return Backlog(
            subscription=subscription,
            ready=ready,
            in_flight=in_flight,
            delayed=NOTHING,
            dead=dead,
            oldest=NOTHING,
            next_due=NOTHING,
        )

    async def _ready(self, queue: str) -> int:
        """On a channel of its own: one answer after the other would take long where the network is slow."""
        async with Hand(self._line) as hand:
            found = await hand.queue(queue)
        return 0 if found is None else found.messages

    async def _in_flight(self, queues: Sequence[str]) -> Count:
        if self._management is None:
            return NOTHING
        try:
            return await self._management.in_flight(*queues)
        except BrokerError as error:
            log.warning("%s", error)
            return NOTHING

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        return await self._browser.page(subscription, after, limit)
