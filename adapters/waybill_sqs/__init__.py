"""Amazon SQS, standard and FIFO, with SNS for topics that several groups share: ten messages a call, and every call counted.

`sqs://eu-west-1`; who we are says AWS's own chain of credentials. See docs/adr/0030 and on for how, and why so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import msgspec

from waybill.adapter import Admin, Attributes, Capabilities, Describes, Limits, Notify, Sink, Source
from waybill.calling import Calls
from waybill.findings import Finding
from waybill.loading import AdapterContext
from waybill.message import Delivery
from waybill.opening import opened
from waybill.outcomes import Ack, Release, SettlementKind
from waybill.topology import Destination, Subscription, TopicSpec, Topology
from waybill_sqs import cost, rights
from waybill_sqs.admin import SqsAdmin
from waybill_sqs.client import Aws
from waybill_sqs.connecting import located
from waybill_sqs.describing import of_place
from waybill_sqs.diagnosis import diagnose
from waybill_sqs.layout import Layout
from waybill_sqs.letters import DeadSource
from waybill_sqs.limits import ENVELOPE, LONGEST_DELAY, MOST_BYTES
from waybill_sqs.moving import move
from waybill_sqs.options import SQS
from waybill_sqs.passing import passing_group
from waybill_sqs.sink import SqsSink
from waybill_sqs.source import SqsSource

__all__ = ["SQS", "SqsAdapter", "adapter"]

HEADER_BYTES = 32 << 10
CRASH_FACTOR = 10
"""SQS counts every hand-out: also those that were given back, and those beside the one that its process died of."""
DEDUPLICATION = 300.0
"""Seconds that a FIFO queue remembers ids for."""


def adapter(url: str, context: AdapterContext) -> SqsAdapter:
    """The entry point for `sqs://`."""
    return SqsAdapter(url, context)


class SqsAdapter(Describes):
    """One account and region."""

    native_settlements: frozenset[SettlementKind] = frozenset({Ack, Release})

    def __init__(self, url: str, context: AdapterContext) -> None:
        self._region, self._table = located(url, dict(context.options.get("sqs", {})))
        self._clock = context.clock
        self._aws = Aws(self._region, self._table, context.application)
        self._layout = Layout(self._table)
        self.admin: Admin = SqsAdmin(self._aws, self._layout)
        base = Capabilities(broker="SQS", ordered=False, durable=True, crash_factor=CRASH_FACTOR)
        self.claims = self.narrowed(base, TopicSpec(""))
        self.capabilities = self.claims

    async def __aenter__(self) -> Self:
        await self._aws.open()
        self.capabilities = msgspec.structs.replace(self.claims, version=f"SQS in {self._region}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._aws.close()

    def narrowed(self, can: Capabilities, topic: TopicSpec) -> Capabilities:
        """What a topic can depends on its queues. See `waybill.adapter.Varies`."""
        kind = self._layout.kind(topic)
        return msgspec.structs.replace(
            can,
            ordered=kind.fifo,
            relaxes=not kind.fifo,
            ephemeral=not kind.direct,
            delays=kind.direct and not kind.fifo,
            dedup_window=DEDUPLICATION if kind.fifo else 0.0,
        )

    @property
    def called(self) -> Mapping[str, int]:
        """See `waybill.calling.Called`."""
        return {"".join(map(str.capitalize, name.split("_"))): number for name, number in self._aws.calls.items()}

    def facts(self, subscription: Subscription) -> Sequence[tuple[str, str]]:
        """What it costs. See `waybill.adapter.Explains`."""
        return list(cost.words(self._layout, subscription))

    def calls(self, topology: Topology, *, rate: float, size: int) -> Sequence[Calls]:
        """See `waybill.calling.CountsCalls`."""
        return list(cost.expected(self._layout, topology, rate=rate, size=size))

    def place_attributes(self, place: Destination | Subscription) -> Attributes:
        """See `waybill.adapter.Describes`."""
        aws = self._aws
        return of_place(place, self._layout, queues=aws.known, arn=aws.known_arn, endpoint=aws.endpoint)

    def location(self, place: Subscription, delivery: Delivery[Any]) -> str:
        """The queue's address, where it is known."""
        url = self._aws.known.get(self._layout.queue(place.topic, place.group))
        return super().location(place, delivery) if url is None else url

    async def rights(self, topology: Topology) -> Sequence[Finding]:
        """What we may do of what is asked for. See `waybill.findings.KnowsRights`."""
        return await rights.missing(self._aws, self._layout, topology)

    async def diagnose(self) -> Sequence[Finding]:
        """Look at AWS. See `waybill.findings.Diagnoses`."""
        return await diagnose(Aws(self._region, self._table, self._aws.application))

    def gaps(self, topology: Topology) -> Sequence[str]:
        groups: dict[str, set[str]] = {}
        for subscription in topology.subscriptions:
            if self._layout.kind(subscription.topic).direct:
                groups.setdefault(subscription.topic.name, set()).add(subscription.group)
        several = [
            f"{topic} is direct, which is one queue of one group, and has the groups {', '.join(sorted(those))}: use "
            f"SQS(direct=False), which puts an SNS topic before a queue for each"
            for topic, those in groups.items()
            if len(those) > 1
        ]
        unordered = [
            f"{each.name}: an SQS standard queue has no order: use SQS(fifo=True), or drop ordered=True"
            for each in topology.subscriptions
            if each.ordered and not self._layout.kind(each.topic).fifo
        ]
        return several + unordered

    def limits(self, destination: Destination) -> Limits:
        published = self._layout.published(destination)
        most = self._table.sns_message_size if published else MOST_BYTES
        kind = self._layout.kind(destination.topic)
        later = None if destination.kind == "retry" else float(LONGEST_DELAY) if kind.direct and not kind.fifo else 0.0
        return Limits(body_bytes=(most - ENVELOPE) * 3 // 4, header_bytes=HEADER_BYTES, delay=later)

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        sink = SqsSink(self._aws, self._layout, destination, self._clock)
        try:
            yield sink
        finally:
            await sink.close()

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        del window  # no more is asked for than there is room
        if subscription.ephemeral:
            async with passing_group(self._aws, self._layout, subscription), self._source(subscription, notify) as way:
                yield way
        else:
            async with self._source(subscription, notify) as way:
                yield way

    @asynccontextmanager
    async def _source(self, subscription: Subscription, notify: Notify) -> AsyncGenerator[Source, None]:
        async with opened(SqsSource(self._aws, self._layout, subscription, self._clock, notify)) as source:
            yield source

    @asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        async with opened(DeadSource(self._aws, self._layout, subscription)) as source:
            yield source

    async def move_letters(self, subscription: Subscription, *, rate: float | None, note: Callable[[int], None]) -> int:
        """See `waybill.adapter.MovesLetters`."""
        return await move(self._aws, self._layout, subscription, rate=rate, note=note)
