"""Which queue and which topic a destination is."""

from __future__ import annotations

from waybill.topology import Destination, TopicSpec
from waybill_sqs import names
from waybill_sqs.options import BrokerTable, Kind, kind_of

__all__ = ["Layout"]


class Layout:
    """Of one account and region."""

    def __init__(self, table: BrokerTable) -> None:
        self.table = table

    def kind(self, spec: TopicSpec) -> Kind:
        return kind_of(spec, self.table)

    def topic(self, spec: TopicSpec) -> str:
        """The SNS topic, or the queue of a topic that is direct."""
        kind = self.kind(spec)
        make = names.queue(spec, None, fifo=kind.fifo, prefix=self.table.prefix)
        return make if kind.direct else names.topic(spec, fifo=kind.fifo, prefix=self.table.prefix)

    def queue(self, spec: TopicSpec, group: str) -> str:
        kind = self.kind(spec)
        return names.queue(spec, None if kind.direct else group, fifo=kind.fifo, prefix=self.table.prefix)

    def dead(self, spec: TopicSpec, group: str) -> str:
        kind = self.kind(spec)
        return names.dead(spec, group, fifo=kind.fifo, prefix=self.table.prefix)

    def place(self, destination: Destination) -> str:
        """The topic or queue that takes what is sent there."""
        if destination.group is None:
            return self.topic(destination.topic)
        where = destination.topic, destination.group
        return self.dead(*where) if destination.kind == "dead" else self.queue(*where)

    def published(self, destination: Destination) -> bool:
        """Whether SNS takes it, and not SQS."""
        return destination.kind == "topic" and self.published_to(destination.topic)

    def published_to(self, spec: TopicSpec) -> bool:
        """Whether there is an SNS topic before its groups' queues."""
        return not self.kind(spec).direct
