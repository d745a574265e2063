"""What OpenTelemetry's conventions say of Kafka's topics, groups and records. Pure.

Source: open-telemetry/semantic-conventions v1.44.0, docs/messaging/kafka.md.
"""

from __future__ import annotations

import re
from typing import Any

from waybill.adapter import Attributes
from waybill.message import Delivery, Message
from waybill.topology import Destination, Subscription
from waybill_kafka import names
from waybill_kafka.connecting import Place

__all__ = ["of_delivery", "of_message", "of_place", "of_position"]

POSITION = re.compile(r".+/(\d+)@(\d+)")


def of_place(place: Destination | Subscription, server: Place) -> Attributes:
    told: dict[str, str | int | bool] = {"messaging.system": "kafka", **_server(server)}
    spec = place.topic
    if spec.pattern:
        told["messaging.destination.template"] = spec.name
    elif isinstance(place, Subscription) or place.group is None:
        told["messaging.destination.name"] = names.topic(spec)
    else:
        make = {"group": names.inbox, "retry": names.later, "dead": names.dead}[place.kind]
        told["messaging.destination.name"] = make(spec, place.group)
    if isinstance(place, Subscription):
        told["messaging.consumer.group.name"] = names.group(spec, place.group)
    return told


def _server(server: Place) -> Attributes:
    """Of several, nobody knows which one it will be."""
    only, *others = server.servers
    if others:
        return {}
    host, _, port = only.rpartition(":")
    return {"server.address": host.strip("[]"), "server.port": int(port)}


def of_message(message: Message) -> Attributes:
    told: dict[str, str | int | bool] = {}
    if message.key is not None:
        told["messaging.kafka.message.key"] = message.key
    if message.body is None:
        told["messaging.kafka.message.tombstone"] = True
    return told


def of_delivery(delivery: Delivery[Any]) -> Attributes:
    record = delivery.native
    told: dict[str, str | int | bool] = {
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        **of_message(delivery.message),
    }
    return told


def of_position(position: str) -> Attributes:
    """`orders/3@17`"""
    found = POSITION.fullmatch(position)
    if found is None:
        return {}
    return {"messaging.destination.partition.id": found[1], "messaging.kafka.offset": int(found[2])}
