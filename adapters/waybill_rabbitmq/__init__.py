"""RabbitMQ 4.0 and later: quorum queues, publisher confirms, and nothing lost on the way between two queues.

`amqp://user:password@host:5672/vhost`, or `amqps://`. See docs/adr/0017 for how, and why so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import msgspec

from waybill.adapter import Admin, Attributes, Capabilities, Describes, Limits, Notify, Sink
from waybill.errors import CapabilityError
from waybill.findings import Finding
from waybill.loading import AdapterContext
from waybill.message import Delivery, Message
from waybill.opening import opened
from waybill.outcomes import Ack, Release, SettlementKind
from waybill.tables import read_table
from waybill.topology import Destination, Subscription, Topology
from waybill_rabbitmq import describing, ladder, names, rights
from waybill_rabbitmq.admin import RabbitAdmin
from waybill_rabbitmq.connecting import Connector, locate
from waybill_rabbitmq.dead import DeadSource
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.diagnosis import diagnose
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.management import Management
from waybill_rabbitmq.options import BrokerTable, RabbitMQ
from waybill_rabbitmq.shapes import Shapes
from waybill_rabbitmq.sink import RabbitSink
from waybill_rabbitmq.source import RabbitSource
from waybill_rabbitmq.version import check_version

__all__ = ["RabbitMQ", "RabbitMQAdapter", "adapter"]

HEADER_BYTES = 64 << 10
CRASH_FACTOR = 10
"""The broker counts every hand-out that did not end in an acknowledgement: also those of a process that was stopped."""


def adapter(url: str, context: AdapterContext) -> RabbitMQAdapter:
    """The entry point for `amqp://` and `amqps://`."""
    return RabbitMQAdapter(url, context)


class RabbitMQAdapter(Describes):
    """One broker: a connection to publish and declare on, and one to consume on, since a broker in need of memory stops
    reading from who publishes."""

    native_settlements: frozenset[SettlementKind] = frozenset({Ack, Release})

    def __init__(self, url: str, context: AdapterContext) -> None:
        self._table = table = read_table(BrokerTable, "rabbitmq", context.options.get("rabbitmq", {}))
        self._place = locate(url, table)
        self._connector = connector = Connector(self._place, table, context.application)
        self._clock = context.clock
        self._publishing = Line(connector, "publishing")
        self._consuming = Line(connector, "consuming")
        self._shapes = Shapes()
        self._management = None if table.management is None else Management(table.management, connector)
        self._admin = RabbitAdmin(
            self._publishing, self._shapes, self._clock, self._management, delivery_limit=table.delivery_limit
        )
        self.admin: Admin = self._admin
        self.claims = Capabilities(
            broker="RabbitMQ", ordered=True, durable=True, ephemeral=True, limits_length=True, crash_factor=CRASH_FACTOR
        )
        self.capabilities = self.claims

    async def __aenter__(self) -> Self:
        connection = await self._publishing.connection()
        version = str(connection.server_properties.get("version", ""))
        try:
            check_version(version)
        except CapabilityError:
            await self._publishing.close()
            raise
        self.capabilities = msgspec.structs.replace(self.claims, version=f"RabbitMQ {version}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consuming.close()
        await self._publishing.close()

    def gaps(self, topology: Topology) -> Sequence[str]:
        return [
            f"{topic.name}: {whose}: choose another name"
            for topic in topology.topics
            if (whose := names.taken(topic.name)) is not None
        ]

    def limits(self, destination: Destination) -> Limits:
        del destination  # the same everywhere
        return Limits(body_bytes=self._table.max_message_size, header_bytes=HEADER_BYTES, delay=ladder.LONGEST)

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        sink = RabbitSink(
            self._publishing, destination, self._clock, alone=lambda: self._admin.groups_of(destination.topic) <= 1
        )
        try:
            yield sink
        finally:
            await sink.close()

    def source(
        self, subscription: Subscription, *, window: int, notify: Notify
    ) -> AbstractAsyncContextManager[RabbitSource]:
        return opened(
            RabbitSource(
                self._consuming,
                subscription,
                self._shapes,
                self._clock,
                notify,
                window=window,
                delivery_limit=self._table.delivery_limit,
            )
        )

    def dead_letters(self, subscription: Subscription) -> AbstractAsyncContextManager[DeadSource]:
        return opened(DeadSource(self._consuming, subscription, self._clock))

    def place_attributes(self, place: Destination | Subscription) -> Attributes:
        """See `waybill.adapter.Describes`."""
        return describing.of_place(place, self._place.servers[0])

    def message_attributes(self, place: Destination, message: Message) -> Attributes:
        return describing.of_message(place, message)

    def delivery_attributes(self, delivery: Delivery[Any]) -> Attributes:
        return describing.of_delivery(delivery)

    async def rights(self, topology: Topology) -> Sequence[Finding]:
        """What we may do of what is asked for. See `waybill.findings.KnowsRights`."""
        async with Hand(self._publishing) as hand:
            return await rights.missing(hand, topology, vhost=self._place.vhost, username=self._place.username)

    async def diagnose(self) -> Sequence[Finding]:
        """Look at the broker and our rights there. See `waybill.findings.Diagnoses`."""
        return await diagnose(self._connector, self._place, self._management)
