"""What exists on AWS, what is missing, what lies before each group, and its dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from waybill.adapter import Page
from waybill.foreign import NotPermitted
from waybill.topology import Backlog, Change, Count, Exactness, Plan, Subscription, Topology
from waybill_sqs.client import Aws
from waybill_sqs.declaring import Hand
from waybill_sqs.layout import Layout
from waybill_sqs.letters import Browser

__all__ = ["SqsAdmin"]

T = TypeVar("T")
NOTHING = Count(None, Exactness.UNKNOWN)
READY = ("ApproximateNumberOfMessages",)
HELD = ("ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
"""A retry that waits is hidden as what is being handled is, so the two cannot be told apart."""


class SqsAdmin:
    """Declares topics and groups, counts, and shows dead letters."""

    def __init__(self, aws: Aws, layout: Layout) -> None:
        self._layout = layout
        self._hand = Hand(aws, layout)
        self._browser = Browser(aws, layout)

    async def plan(self, topology: Topology) -> Plan:
        topics = sorted(topology.topics, key=lambda spec: spec.name)
        there = await asyncio.gather(*(self._visible(partial(self._hand.topic, spec), or_else=True) for spec in topics))
        nothing: list[Change] = []
        groups = await asyncio.gather(
            *(self._visible(partial(self._hand.changes, s), or_else=nothing) for s in topology.subscriptions)
        )
        changes = [
            Change("create", f"topic {spec.name}") for spec, is_there in zip(topics, there, strict=True) if not is_there
        ]
        return Plan(topology, [*changes, *(change for found in groups for change in found)])

    @staticmethod
    async def _visible(look: Callable[[], Awaitable[T]], *, or_else: T) -> T:
        """What we may not look at is somebody else's to make."""
        try:
            return await look()
        except NotPermitted:
            return or_else

    async def apply(self, plan: Plan, *, allow: Collection[str] = ()) -> None:
        wanted: dict[str, list[Change]] = {}
        for change in plan.changes:
            wanted.setdefault(change.what, []).append(change)
        topics = {spec.name: spec for spec in plan.topology.topics}
        groups = [s for s in plan.topology.subscriptions if f"group {s.name}" in wanted]
        topics |= {s.topic.name: s.topic for s in groups}
        made = {s.topic.name for s in groups} | {name for name in topics if f"topic {name}" in wanted}
        await asyncio.gather(*(self._hand.make_topic(topics[name]) for name in made))
        for subscription in groups:
            await self._group(subscription, wanted[f"group {subscription.name}"], allow)

    async def _group(self, subscription: Subscription, changes: Sequence[Change], allow: Collection[str]) -> None:
        what = f"group {subscription.name}"
        if any(change.action == "create" for change in changes):
            await self._hand.make_group(subscription)
        elif any(change.action == "alter" for change in changes) or what in allow:
            await self._hand.alter(subscription, allowed=what in allow)

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        return [subscription]

    async def backlog(self, subscription: Subscription) -> Backlog:
        where = subscription.topic, subscription.group
        queue, dead = await asyncio.gather(
            self._hand.attributes(self._layout.queue(*where)), self._hand.attributes(self._layout.dead(*where))
        )
        return Backlog(
            subscription=subscription,
            ready=_count(queue, READY),
            in_flight=_count(queue, HELD),
            delayed=NOTHING,
            dead=_count(dead, (*READY, *HELD)),
            oldest=NOTHING,
            next_due=NOTHING,
        )

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        return await self._browser.page(subscription, after, limit)


def _count(attributes: Mapping[str, str] | None, names: Sequence[str]) -> Count:
    if attributes is None:
        return NOTHING
    return Count(sum(int(attributes.get(name, 0)) for name in names), Exactness.APPROXIMATE)
