"""A message as the properties of AMQP 0-9-1, and back: CloudEvents attributes as headers `cloudEvents:…`. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

import msgspec

from waybill import envelope
from waybill.errors import DecodeError
from waybill.ids import derived_id
from waybill.message import DeadLetterRecord, Message
from waybill.topology import Subscription
from waybill_rabbitmq import names, wire

__all__ = ["MARK", "key_of", "mark_of", "read", "shortened", "write"]

PREFIX = "cloudEvents:"
ID = frozenset({"cloudEvents:id", "cloudEvents_id"})
MARK = "waybill-mark"
"""Which publish of its channel a message was: the broker gives back what it could not route without saying so."""
TOMBSTONE = "waybill-tombstone"
OURS = frozenset({"waybill", MARK, TOMBSTONE})
MOST_RAW = 16 << 10
"""Bytes of unreadable properties that are kept."""
REASONS = {
    "delivery_limit": ("delivery_limit", "poison"),
    "expired": ("expired", "policy"),
    "rejected": ("rejected", ""),
    "maxlen": ("max_length", "policy"),
}
"""Why the broker itself dead-letters, and what that is called here: reason and disposition."""


def write(message: Message, mark: int) -> bytes:
    """The properties of a message, with the number of its publish. Raises `ValueError` for what they cannot carry."""
    attributes = envelope.encode(message)
    content_type = attributes.pop("datacontenttype", None)
    parts = [wire.number_field(MARK, mark)]
    if (transit := attributes.pop("waybill", None)) is not None:
        parts.append(wire.field("waybill", transit))
    parts += [wire.field(PREFIX + name, value) for name, value in attributes.items()]
    if message.headers:
        parts += [wire.field(name, value) for name, value in message.headers.items()]
    if message.body is None:
        parts.append(wire.field(TOMBSTONE, "1"))
    shown = message.id if len(message.id.encode()) <= 255 else None
    return wire.properties(b"".join(parts), content_type=content_type, message_id=shown)


def shortened(message: Message) -> Iterator[Message]:
    """The same dead letter with less to say of itself, and less again: others may send more headers than leave room."""
    if (dead := message.dead) is None:
        return
    replace = msgspec.structs.replace
    message = replace(message, dead=replace(dead, stack=None))
    yield message
    yield replace(message, headers={name[:100]: value[:100] for name, value in message.headers.items()})
    left_out = f"{dead.detail} (its {len(message.headers)} headers had no room)"
    yield replace(message, headers={}, dead=replace(dead, detail=left_out, stack=None))


def mark_of(raw: bytes) -> int | None:
    """The number of the publish that these properties were written for."""
    try:
        mark = wire.read(raw).headers.get(MARK)
    except ValueError:
        return None
    return mark if isinstance(mark, int) else None


def key_of(raw: bytes) -> str | None:
    """The key of a message that nobody has read yet."""
    try:
        found = wire.read(raw).headers
    except ValueError:
        return None
    key = found.get(f"{PREFIX}partitionkey", found.get("cloudEvents_partitionkey"))
    return None if key is None else envelope.as_text(key)


def read(
    raw: bytes, body: bytes, *, subscription: Subscription, received: datetime, dead: bool = False
) -> tuple[Message, Mapping[str, Any]]:
    """The message, and the headers as they came. Whatever cannot be read becomes a stand-in that is a dead letter.

    dead: it is read as a dead letter. One that has no id has the same one then, however often it is looked at.
    """
    topic = subscription.topic.name
    try:
        found = wire.read(raw)
        ident = _lasting_id(found, body) if dead and not _has_id(found) else None
        return _message(found, body, subscription, received, ident), found.headers
    except (ValueError, DecodeError) as error:
        kept = base64.b64encode(raw[:MOST_RAW]).decode()
        ident = derived_id(hashlib.blake2b(body).hexdigest()) if dead else None
        stand_in = envelope.unreadable(body, str(error), topic=topic, received=received, ident=ident, raw=kept)
        return stand_in, {}


def _has_id(found: wire.Properties) -> bool:
    return "message_id" in found.values or not ID.isdisjoint(found.headers)


def _lasting_id(found: wire.Properties, body: bytes) -> str:
    """For a dead letter without one: the same at every look, though the broker counts each in its own headers."""
    users = {name: value for name, value in found.headers.items() if not name.startswith("x-")}
    died = [str(death.get("time")) for death in _tables(found.headers.get("x-death"))]
    said = envelope.as_text([dict(found.values), users, died])
    return derived_id(hashlib.blake2b(said.encode("utf-8", "surrogatepass") + body).hexdigest())


def _message(
    found: wire.Properties, body: bytes, subscription: Subscription, received: datetime, ident: str | None
) -> Message:
    values, attributes, users = found.values, dict[str, str](), dict[str, str]()
    for name, value in found.headers.items():
        if name.startswith("cloudEvents"):
            attributes[name[12:]] = envelope.as_text(value)
        elif name == "waybill":
            attributes[name] = envelope.as_text(value)
        elif name not in OURS and not name.startswith("x-"):
            users[name] = envelope.as_text(value)
    if "content_type" in values:
        attributes["datacontenttype"] = values["content_type"]
    for name, given in (("id", "message_id"), ("correlationid", "correlation_id")):
        if given in values:
            attributes.setdefault(name, values[given])
    if ident is not None:
        attributes.setdefault("id", ident)
    if "time" not in attributes and (published := envelope.at(values.get("timestamp"))):
        attributes["time"] = published.isoformat()
    topic = subscription.topic.name
    whole = None if TOMBSTONE in found.headers else body
    message = envelope.decode(attributes, whole, headers=users, topic=topic, received=received)
    dead = message.dead or _death(found.headers, subscription, message)
    if message.due is None and message.dead is dead:
        return message
    return msgspec.structs.replace(message, due=None, dead=dead)


def _death(headers: Mapping[str, Any], subscription: Subscription, message: Message) -> DeadLetterRecord | None:
    """The record of what the broker itself dead-lettered, if it did so last."""
    deaths = _tables(headers.get("x-death"))
    reason = headers.get("x-last-death-reason", headers.get("x-first-death-reason"))
    queue = str(headers.get("x-last-death-queue", headers.get("x-first-death-queue")))
    ours = names.inbox(subscription.topic, subscription.group)
    if not deaths or reason not in REASONS or not (queue == ours or queue.startswith(f"{ours}/")):
        return None
    death = _last(deaths, queue, reason)
    ours_is, disposition = REASONS[reason]
    return DeadLetterRecord(
        id=derived_id(f"{queue} {reason} {death.get('time')} {message.id} {message.redrives}"),
        reason=ours_is,
        disposition=disposition,
        detail=f"the broker gave it up ({reason})",  # not after how many deliveries: each look at a letter is one more
        topic=subscription.topic.name,
        group=subscription.group,
        attempts=message.attempts,
        at=envelope.at(death.get("time")) or message.time,
        first_failure=message.first_failure,
        place=":".join(filter(None, (str(death.get("exchange") or ""), _routing_key(death), queue))),
    )


def _last(deaths: list[Mapping[str, Any]], queue: str, reason: str) -> Mapping[str, Any]:
    """What the broker tells of that death. Its count is not looked at: since RabbitMQ 3.13 it does not grow any more when a
    client publishes the message again (rabbitmq-server#11331)."""
    return next((death for death in deaths if (death.get("queue"), death.get("reason")) == (queue, reason)), deaths[0])


def _tables(deaths: object) -> list[Mapping[str, Any]]:
    listed = cast("list[object]", deaths) if isinstance(deaths, list) else []
    return [cast("Mapping[str, Any]", death) for death in listed if isinstance(death, dict)]


def _routing_key(death: Mapping[str, Any]) -> str:
    keys = death.get("routing-keys")
    return str(cast("list[object]", keys)[0]) if isinstance(keys, list) and keys else ""
