"""Which queues a group has on the broker, and how that differs from what the code asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from waybill.topology import Change, Subscription
from waybill_rabbitmq import names, objects
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.objects import Binding, Exchange, Objects, Queue, Shape
from waybill_rabbitmq.options import partitions_of
from waybill_rabbitmq.survey import Different, Survey

__all__ = ["Shapes", "compare", "drift", "look"]

WORDS = {"x-max-length": "max_length", "x-delivery-limit": "delivery_limit"}
"""Arguments of queues, by the names that they have in the code."""


class Shapes:
    """What was found, remembered: a group's queues do not change while it is consumed."""

    def __init__(self) -> None:
        self._found: dict[str, Shape] = {}

    async def find(self, hand: Hand, subscription: Subscription) -> Shape | None:
        """The group's queues, or `None` where it has none."""
        found = self._found.get(subscription.name)
        if found is None:
            found = await look(hand, subscription)
            if found is not None:
                self._found[subscription.name] = found
        return found

    def forget(self, subscription: Subscription) -> None:
        self._found.pop(subscription.name, None)


async def look(hand: Hand, subscription: Subscription) -> Shape | None:
    partitions = 0
    while await hand.queue(names.partition_queue(subscription, partitions)) is not None:
        partitions += 1
    if partitions or await hand.queue(names.inbox(subscription.topic, subscription.group)) is not None:
        return Shape(partitions)
    return None


async def drift(hand: Hand, survey: Survey | None, subscription: Subscription, delivery_limit: int) -> Sequence[Change]:
    """What of a group is missing, or is not as the code asks for. Without a survey: the first thing that is not."""
    what, topic = f"group {subscription.name}", subscription.topic
    found, wanted = await look(hand, subscription), Shape.of(subscription)
    if found is None or await hand.queue(names.dead(topic, subscription.group)) is None:
        return [Change("create", what)]
    if detail := _difference(subscription, found, wanted):
        return [Change("differs", what, detail)]
    if wanted.partitions and not found.partitions and not subscription.by_contract:
        shared = await hand.queue(names.inbox(topic, subscription.group))
        if shared is None or not shared.consumers:
            return [Change("create", what, "nobody has consumed it yet, and it is to be consumed in order")]
        return [Change("differs", what, "it is consumed there, and not in order: stop its consumers")]
    return await compare(hand, survey, what, objects.group(subscription, found, delivery_limit=delivery_limit))


async def compare(hand: Hand, survey: Survey | None, what: str, made: Objects) -> Sequence[Change]:
    """What of these objects, which together are `what`, is missing or differs."""
    if survey is not None:
        if different := survey.differences(made):
            return [Change("differs", what, "; ".join(_told(*found) for found in different))]
        missing = survey.missing(made)
        return [Change("create", what, f"{', '.join(missing)}")] if missing else []
    seen = [item for item in made if not isinstance(item, Binding)]  # those cannot be looked at
    found = await asyncio.gather(*(_look_at(hand.beside(), what, item) for item in seen))
    return [change for change in found if change is not None][:1]


async def _look_at(hand: Hand, what: str, item: Exchange | Queue) -> Change | None:
    """On a channel of its own: one after the other would take long where the network is slow."""
    async with hand:
        if not await hand.has(item):
            return Change("create", what, item.name)
        first = await hand.difference(item)
    return None if first is None else Change("differs", what, _told(item.name, first))


def _told(name: str, found: Different) -> str:
    word = WORDS.get(found.argument, found.argument)
    return f"{name}: {word}: {found.there} there, {found.wanted} in the code"


def _difference(subscription: Subscription, found: Shape, wanted: Shape) -> str | None:
    there, asked = found.partitions, wanted.partitions
    if subscription.by_contract and not asked:
        asked = partitions_of(subscription.topic) if there else 0
    if there == asked or not there:
        return None
    if not asked:
        return "it is consumed in order there, each partition by one member at a time, and not in the code"
    if asked > there:
        return f"partitions: {there} there, {asked} in the code; with more of them, most keys move to another one"
    return f"partitions: {there} there, {asked} in the code; they are never taken away"
