"""What OpenTelemetry's conventions say of a place here. They know no embedded broker, so its `messaging.system` is our own."""

from __future__ import annotations

from waybill.adapter import Attributes
from waybill.topology import Destination, Subscription

__all__ = ["of_place"]

SYSTEM = "waybill_embedded"


def of_place(place: Destination | Subscription) -> Attributes:
    named = "messaging.destination.template" if place.topic.pattern else "messaging.destination.name"
    if isinstance(place, Subscription):
        return {"messaging.system": SYSTEM, named: place.topic.name, "messaging.consumer.group.name": place.group}
    name = f"{place.name}/dead" if place.kind == "dead" else place.name
    return {"messaging.system": SYSTEM, named: name}
