"""Queues and topics, as the calls that made and changed them tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tests.brokers.strict.refusing import Parameters

Service: TypeAlias = Literal["sqs", "sns"]

MIB = 1024 * 1024
"""The most that a message of SQS may have, and a batch: "Amazon SQS message quotas" in the developer guide."""
TOPIC = 256 * 1024
"""The most that a message of SNS may have unless its topic's attribute says more: "Publish" in the API reference."""


@dataclass(frozen=True)
class Place:
    """A queue or a topic. One that was made elsewhere has the defaults."""

    service: Service
    name: str
    largest: int
    content_based: bool = False
    visibility: int = 30

    @property
    def fifo(self) -> bool:
        return self.name.endswith(".fifo")


class Places:
    """What is known of each, by service and name: a queue and a topic may share a name."""

    def __init__(self) -> None:
        self._known: dict[tuple[Service, str], Place] = {}

    def find(self, service: Service, name: str) -> Place:
        return self._known.get((service, name)) or Place(service, name, MIB if service == "sqs" else TOPIC)

    def learn(self, place: Place, attributes: Parameters) -> None:
        """Remember what was set, by CreateQueue, SetQueueAttributes, CreateTopic or SetTopicAttributes."""
        self._known[place.service, place.name] = replace(
            place,
            largest=int(attributes.get("MaximumMessageSize", place.largest)),
            content_based=str(attributes.get("ContentBasedDeduplication", place.content_based)).lower() == "true",
            visibility=int(attributes.get("VisibilityTimeout", place.visibility)),
        )
