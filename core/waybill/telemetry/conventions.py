"""OpenTelemetry's semantic conventions for messaging, version 1.44: the names that are written, and what a span is called.

The names are written out, since the package that has them keeps the messaging ones private; a test compares the two.
Source: open-telemetry/semantic-conventions v1.44.0, docs/messaging/messaging-spans.md.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from waybill.adapter import Adapter, Attributes, Describes
from waybill.topology import Destination, Subscription

__all__ = [
    "ATTEMPT",
    "BATCH",
    "CONVERSATION",
    "DESTINATION",
    "ERROR",
    "GROUP",
    "MESSAGE",
    "OPERATION",
    "REDRIVE",
    "REDRIVES",
    "SCHEMA",
    "SYSTEM",
    "TEMPLATE",
    "TEMPORARY",
    "TYPE",
    "declared",
    "place_of",
    "span_name",
]

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"

SYSTEM: Final = "messaging.system"
OPERATION: Final = "messaging.operation.name"
TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
TEMPLATE: Final = "messaging.destination.template"
TEMPORARY: Final = "messaging.destination.temporary"
GROUP: Final = "messaging.consumer.group.name"
MESSAGE: Final = "messaging.message.id"
CONVERSATION: Final = "messaging.message.conversation_id"
ATTEMPT: Final = "waybill.attempt"
"""Which handling of the message it is; where it is not the first."""
REDRIVES: Final = "waybill.redrives"
"""How many times it came back from the dead letters; where it did."""
REDRIVE: Final = "waybill.redrive.id"
"""The operation that brought it back."""

At = TypeVar("At", bound=Destination | Subscription)

BATCH: Final = "messaging.batch.message_count"
ERROR: Final = "error.type"


def place_of(adapter: Adapter, place: Destination | Subscription, *, passing: bool = False) -> Attributes:
    """What is told of all messages of a place: by the adapter, or else what is known of it without.

    passing: the place is an ephemeral group's. Such a group has a name of its own in each process; where the destination's
    name has that in it, it is a temporary one, and its template is the name that it would have as declared.
    """
    told = _told(adapter, place)
    known = declared(place, passing=passing)
    template = None if known is place else _told(adapter, known).get(DESTINATION)
    if template is None or template == told.get(DESTINATION):
        return told
    return {**told, TEMPLATE: template, TEMPORARY: True}


def declared(place: At, *, passing: bool = False) -> At:
    """The place, with the name that its group has in the code, of which there is only one in all processes."""
    if isinstance(place, Subscription) and place.ephemeral:
        return msgspec.structs.replace(place, group=_group_of(place.group), ephemeral=False)
    if passing and place.group is not None:
        return msgspec.structs.replace(place, group=_group_of(place.group))
    return place


def _group_of(ephemeral: str) -> str:
    return ephemeral.rpartition(".")[0] or ephemeral


def _told(adapter: Adapter, place: Destination | Subscription) -> Attributes:
    if isinstance(adapter, Describes):
        return adapter.place_attributes(place)
    told: dict[str, str | int | bool] = {SYSTEM: adapter.claims.broker.lower().replace(" ", "_")}
    told[TEMPLATE if place.topic.pattern else DESTINATION] = place.topic.name
    if isinstance(place, Subscription):
        told[GROUP] = place.group
    return told


def span_name(operation: str, place: Attributes) -> str:
    """The operation and where: the template before the name, since it is one of few; a place that has neither by its server."""
    where = place.get(TEMPLATE) or place.get(DESTINATION)
    if where is None and "server.address" in place:
        where = f"{place['server.address']}:{place.get('server.port', '')}".rstrip(":")
    return operation if where is None else f"{operation} {where}"
