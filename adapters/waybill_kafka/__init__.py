"""Kafka 4.0 and later: idempotent publishing, commits that never pass what is unfinished, and keys in order inside partitions.

`kafka://host:9092,host:9092`, or `kafka+ssl://`. See docs/adr/0023 and on for how, and why so.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import msgspec

from waybill.adapter import Admin, Attributes, Capabilities, Describes, Limits, Notify, Sink, Source
from waybill.errors import BrokerError, CapabilityError, DestinationMissing, missing
from waybill.findings import Finding
from waybill.history import Past, Stretch
from waybill.loading import AdapterContext
from waybill.message import Delivery, Message
from waybill.opening import opened
from waybill.outcomes import Ack, Release, SettlementKind
from waybill.tables import read_table
from waybill.topology import Destination, Subscription, Topology
from waybill_kafka import describing, names, rights
from waybill_kafka.admin import KafkaAdmin
from waybill_kafka.cluster import BEFORE, Cluster
from waybill_kafka.connecting import locate
from waybill_kafka.diagnosis import diagnose
from waybill_kafka.history import KafkaPast, seek
from waybill_kafka.layout import Layout
from waybill_kafka.letters import DeadSource
from waybill_kafka.options import BrokerTable, Kafka
from waybill_kafka.sink import KafkaSink
from waybill_kafka.source import KafkaSource
from waybill_kafka.waiting import Rooms

__all__ = ["Kafka", "KafkaAdapter", "adapter"]

HEADER_BYTES = 64 << 10


def adapter(url: str, context: AdapterContext) -> KafkaAdapter:
    """The entry point for `kafka://` and `kafka+ssl://`."""
    return KafkaAdapter(url, context)


class KafkaAdapter(Describes):
    """One cluster."""

    native_settlements: frozenset[SettlementKind] = frozenset({Ack, Release})

    def __init__(self, url: str, context: AdapterContext) -> None:
        self._table = table = read_table(BrokerTable, "kafka", context.options.get("kafka", {}))
        self._cluster = Cluster(locate(url, table), table, context.application)
        self._clock = context.clock
        self._layout = Layout(self._cluster)
        self._admin = KafkaAdmin(self._cluster, self._layout)
        self.admin: Admin = self._admin
        self.claims = Capabilities(
            broker="Kafka",
            ordered=True,
            durable=True,
            patterns=True,
            ephemeral=True,
            history=True,
            replays=True,
            dedup_window=0.0,
            sends_in_order=True,
        )
        self.capabilities = self.claims

    async def __aenter__(self) -> Self:
        await self._cluster.open()
        try:
            version = check_version(await self._cluster.version())
        except BaseException:
            await self._cluster.close()
            raise
        self.capabilities = msgspec.structs.replace(self.claims, version=f"Kafka {version}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._cluster.close()

    async def diagnose(self) -> Sequence[Finding]:
        """Look at the broker. See `waybill.findings.Diagnoses`."""
        return await diagnose(Cluster(self._cluster.place, self._table, self._cluster.application))

    async def rights(self, topology: Topology) -> Sequence[Finding]:
        """What we may do of what is asked for. See `waybill.findings.KnowsRights`."""
        return await rights.missing(self._cluster, topology)

    def place_attributes(self, place: Destination | Subscription) -> Attributes:
        """See `waybill.adapter.Describes`."""
        return describing.of_place(place, self._cluster.place)

    def message_attributes(self, place: Destination, message: Message) -> Attributes:
        del place  # the same everywhere
        return describing.of_message(message)

    def delivery_attributes(self, delivery: Delivery[Any]) -> Attributes:
        return describing.of_delivery(delivery)

    def position_attributes(self, position: str) -> Attributes:
        return describing.of_position(position)

    def location(self, place: Subscription, delivery: Delivery[Any]) -> str:
        del place  # what waited for a retry is in another topic
        return f"{delivery.partition}@{delivery.native.offset}"

    def gaps(self, topology: Topology) -> Sequence[str]:
        alike = names.collisions(topic.name for topic in topology.topics if not topic.pattern)
        return [
            f"{one} and {other}: Kafka takes '.' and '_' for the same where it names its metrics, and has not both: "
            f"rename one"
            for one, other in alike
        ]

    def limits(self, destination: Destination) -> Limits:
        del destination  # the same everywhere
        return Limits(body_bytes=self._table.max_message_size, header_bytes=HEADER_BYTES)

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        sink = KafkaSink(self._cluster, self._layout, destination, self._clock)
        try:
            yield sink
        finally:
            await sink.close()

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        async with self._declared(subscription) as alias:
            source = KafkaSource(self._cluster, subscription, alias, notify, window=window)
            looking_after = Rooms(self._cluster, self._layout, subscription, alias, self._clock)
            try:
                await source.open()
                looking_after.start()
                yield source
            finally:
                try:
                    await source.close()
                finally:
                    await looking_after.close()

    @asynccontextmanager
    async def _declared(self, subscription: Subscription) -> AsyncGenerator[str, None]:
        """The group's name on the broker. One that goes with its consumer is made here."""
        if not subscription.ephemeral:
            if not await self._admin.is_there(subscription):
                raise DestinationMissing(missing(subscription.name))
            yield subscription.group
            return
        topic, group = subscription.topic.name, subscription.group
        alias = f"~{group}-{uuid.uuid4().hex[:12]}"
        await self._admin.make_group(subscription, alias)
        self._layout.passes(topic, group, alias)
        try:
            yield alias
        finally:
            self._layout.passes(topic, group, None)
            with contextlib.suppress(BrokerError):
                await self._admin.drop_group(subscription, alias)

    @asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        alias = self._layout.alias(Destination("dead", subscription.topic, subscription.group)) or subscription.group
        async with (
            self._cluster.reader() as reader,
            opened(DeadSource(self._cluster, reader, subscription, alias)) as source,
        ):
            yield source

    @asynccontextmanager
    async def past(self, subscription: Subscription, stretch: Stretch) -> AsyncGenerator[Past, None]:
        """See `waybill.history.KeepsHistory`."""
        topics = await self._admin.topics_of(subscription.topic)
        async with (
            self._cluster.reader() as reader,
            opened(KafkaPast(self._cluster, reader, subscription, stretch, topics)) as past,
        ):
            yield past

    async def seek(self, subscription: Subscription, stretch: Stretch) -> None:
        """See `waybill.history.KeepsHistory`."""
        await seek(self._cluster, subscription, stretch, await self._admin.topics_of(subscription.topic))


def check_version(version: str) -> str:
    """Raises `CapabilityError` for a broker that is too old."""
    if version == BEFORE:
        raise CapabilityError("this Kafka is older than 4.0, which Waybill needs: upgrade the broker")
    return version
