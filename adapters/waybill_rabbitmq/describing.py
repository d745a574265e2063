"""What OpenTelemetry's conventions say of RabbitMQ's exchanges, queues and messages. Pure.

A destination is written `exchange:routing key` by who publishes and `exchange:routing key:queue` by who consumes, without what
is not there. The routing key is the number of the partition, another one for each key, and so not a part of any destination.
Source: open-telemetry/semantic-conventions v1.44.0, docs/messaging/rabbitmq.md.
"""

from __future__ import annotations

from typing import Any

from waybill.adapter import Attributes
from waybill.addressing import partition_of
from waybill.message import Delivery, Message
from waybill.topology import Destination, Subscription, TopicSpec
from waybill_rabbitmq import names
from waybill_rabbitmq.options import partitions_of

__all__ = ["of_delivery", "of_message", "of_place"]

ROUTING_KEY = "messaging.rabbitmq.destination.routing_key"


def of_place(place: Destination | Subscription, server: tuple[str, int]) -> Attributes:
    spec = place.topic
    told: dict[str, str | int | bool] = {
        "messaging.system": "rabbitmq",
        "server.address": server[0],
        "server.port": server[1],
    }
    if isinstance(place, Subscription):
        told["messaging.destination.name"] = f"{names.exchange(spec)}:{names.inbox(spec, place.group)}"
        told["messaging.consumer.group.name"] = place.group
    else:
        told["messaging.destination.name"] = _exchange(place, spec)
    return told


def _exchange(place: Destination, spec: TopicSpec) -> str:
    if place.kind == "topic":
        return names.exchange(spec)
    return names.dead(spec, place.group) if place.kind == "dead" else names.inbox(spec, place.group)


def of_message(place: Destination, message: Message) -> Attributes:
    """Where it has no key, any partition will do, and which it is nobody is told."""
    if message.key is None:
        return {}
    return {ROUTING_KEY: str(partition_of(message.key.encode(), partitions_of(place.topic)))}


def of_delivery(delivery: Delivery[Any]) -> Attributes:
    told: dict[str, str | int | bool] = {"messaging.rabbitmq.message.delivery_tag": delivery.token.tag}
    if delivery.partition is not None:
        told[ROUTING_KEY] = told["messaging.destination.partition.id"] = delivery.partition
    return told
