"""A message as an entry of SQS or SNS, and back. Pure.

All but the body is in one attribute, `waybill`, as JSON: CloudEvents attributes by their names, `headers`, and `encoding`
where the body is no text that AWS carries (`base64`, `empty`, or `none` for a tombstone), and `hold` on what is to wait for a
part of a second.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Any

import msgspec

from waybill import envelope
from waybill.deadletters import again, shorten
from waybill.envelope import TRACEPARENT
from waybill.errors import DecodeError
from waybill.ids import derived_id
from waybill.message import DeadLetterRecord, Message
from waybill.topology import Subscription
from waybill_sqs.limits import LONGEST_DELAY, carried, is_carried, weight

__all__ = ["Entry", "deduplication", "entry", "read", "received_times", "sent_at", "shortened"]

OWN = "waybill"
LONGEST_HOLD = 0.9
HOLD = re.compile(r"0\.[0-9]{3}")
XRAY = re.compile(r"Root=1-([0-9a-f]{8})-([0-9a-f]{24});Parent=([0-9a-f]{16})(?:;Sampled=([01]))?")
PLACEHOLDER = "-"
"""The body of a message that has none: SQS wants a character."""
SNS_ERRORS = ("ERROR_CODE", "ERROR_MESSAGE")
"""Attributes of what SNS could not deliver. Source: Amazon SNS dead-letter queues."""
Texts = dict[str, str | dict[str, str]]
_read = msgspec.json.Decoder(Texts).decode
_write = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, frozen=True):
    """What is sent of a message, without its id in the call."""

    fields: dict[str, Any]
    size: int
    group: str | None
    """What has to be stored one after another."""


def entry(
    message: Message,
    *,
    fifo: bool,
    dead: bool,
    hop: str,
    ident: str,
    delays: bool,
    filters: Iterable[str],
    now: float,
) -> Entry:
    """The entry for a queue; a topic of SNS takes the body by another name.

    dead: whether it goes to dead letters, each of which is a group of its own. hop: where it is sent, which makes its
    deduplication id one of its own, and `ident` what is one message there.
    """
    body, encoding = _body(message.body)
    wait = 0.0 if message.due is None else message.due.timestamp() - now
    served = delays and not fifo and wait <= LONGEST_DELAY
    told: dict[str, Any] = envelope.encode(msgspec.structs.replace(message, due=None) if served else message)
    if served and 0 < wait <= LONGEST_HOLD:  # SQS counts in whole seconds, so whoever receives it waits
        told["hold"] = f"{wait:.3f}"
    if message.headers:
        told["headers"] = dict(message.headers)
    if encoding is not None:
        told["encoding"] = encoding
    text = _write(told).decode().replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
    attributes = {OWN: {"DataType": "String", "StringValue": text}}
    for name in filters:
        value = message.headers.get(name)
        if value is not None and is_carried(name, value):
            attributes[name] = {"DataType": "String", "StringValue": value}
    fields: dict[str, Any] = {"MessageBody": body, "MessageAttributes": attributes}
    if (parent := message.traceparent) is not None and TRACEPARENT.fullmatch(parent):
        fields["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": _xray(parent)}}
    group = None
    if fifo:
        group = _group(message.key if message.key is not None and not dead else message.id)
        fields |= {"MessageGroupId": group, "MessageDeduplicationId": deduplication(message, hop, ident)}
    elif delays and wait > LONGEST_HOLD:
        fields["DelaySeconds"] = min(ceil(wait), LONGEST_DELAY)
    return Entry(fields, weight(body, attributes), group)


def _body(body: bytes | None) -> tuple[str, str | None]:
    if not body:
        return PLACEHOLDER, "none" if body is None else "empty"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = ""
    return (text, None) if carried(text) else (base64.b64encode(body).decode(), "base64")


def _group(key: str) -> str:
    """A group id has 1 to 128 characters of ASCII, without spaces."""
    if key and len(key) <= 100 and key.isascii() and key.isprintable() and " " not in key and not key.startswith("~"):
        return key
    return f"~{hashlib.blake2b(key.encode(), digest_size=20).hexdigest()}"


def deduplication(message: Message, hop: str, ident: str) -> str:
    """What FIFO takes for the same message for five minutes. A redriven, retried or dead copy is another one."""
    parts = (message.id, hop, ident, str(message.attempts), str(message.redrives))
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=30).hexdigest()


def _xray(parent: str) -> str:
    """A trace as AWS writes it. Source: X-Ray's tracing header."""
    _, trace, span, flags = parent.split("-")[:4]
    return f"Root=1-{trace[:8]}-{trace[8:]};Parent={span};Sampled={int(flags, 16) & 1}"


def _traceparent(native: Mapping[str, Any]) -> str | None:
    """The same, back: whatever AWS's services, and programs that know nothing of Waybill, say of a trace."""
    found = XRAY.search(native.get("Attributes", {}).get("AWSTraceHeader", ""))
    return None if found is None else f"00-{found[1]}{found[2]}-{found[3]}-{'01' if found[4] == '1' else '00'}"


def shortened(message: Message) -> Iterator[Message]:
    """The same dead letter with less to say of itself, and less again: it has nowhere else to go."""
    if (dead := message.dead) is None:
        return
    replace = msgspec.structs.replace
    message = replace(message, dead=replace(dead, stack=None))
    yield message
    left_out = f"{dead.detail[:200]} (its {len(message.headers)} headers had no room)"
    yield replace(message, headers={}, dead=replace(dead, detail=left_out, stack=None))


# ---------------------------------------------------------------- back


def read(
    native: Mapping[str, Any],
    *,
    subscription: Subscription,
    dead: bool = False,
    source: str = "",
    now: float | None = None,
) -> Message:
    """The message. Whatever cannot be read becomes a stand-in that is a dead letter. `now`: what holds counts from then.

    dead: it is read as a dead letter, of the queue `source`.
    """
    attributes: Mapping[str, Mapping[str, Any]] = native.get("MessageAttributes") or {}
    text: str = native.get("Body", "")
    topic, received = subscription.topic.name, sent_at(native)
    own = attributes.get(OWN, {}).get("StringValue")
    try:
        if own is None:
            message = _foreign(native, text, attributes, topic, received)
        else:
            message = _ours(own, text, topic, received, None if received_times(native) > 1 else now)
    except (DecodeError, msgspec.MsgspecError, binascii.Error, ValueError, RecursionError) as error:
        message = envelope.unreadable(
            text.encode("utf-8", "surrogatepass"), str(error), topic=topic, received=received, raw=(own or "")[:16384]
        )
    if dead and message.dead is None:
        return msgspec.structs.replace(message, dead=_given_up(native, subscription, message, source))
    if not dead and message.dead is not None:
        return again(message)  # SQS itself has moved it, whoever asked for that
    return message


def _ours(own: str, text: str, topic: str, received: datetime, now: float | None) -> Message:
    told = _read(own)
    headers, encoding, hold = told.pop("headers", {}), told.pop("encoding", None), told.pop("hold", None)
    if not isinstance(headers, dict):
        raise DecodeError("the headers in the `waybill` attribute are no names and texts")
    texts = {name: value for name, value in told.items() if isinstance(value, str)}
    body: bytes | None
    if encoding is None:
        body = text.encode("utf-8", "surrogatepass")
    elif encoding == "base64":
        body = base64.b64decode(text, validate=True)
    elif encoding in {"none", "empty"}:
        body = None if encoding == "none" else b""
    else:
        raise DecodeError(f"the body's encoding is {encoding!r:.40}, which this version cannot read: upgrade")
    message = envelope.decode(texts, body, headers=headers, topic=topic, received=received)
    if now is not None and isinstance(hold, str) and HOLD.fullmatch(hold):
        return msgspec.structs.replace(message, due=envelope.at(now + float(hold)))
    return message


def _foreign(
    native: Mapping[str, Any], text: str, attributes: Mapping[str, Mapping[str, Any]], topic: str, received: datetime
) -> Message:
    headers = {
        name: envelope.as_text(attribute.get("StringValue", attribute.get("BinaryValue", "")))
        for name, attribute in attributes.items()
    }
    told = {"id": str(native.get("MessageId", ""))}
    if (wrapped := unwrapped(text)) is not None:
        text, told["id"] = wrapped.message, wrapped.id
        headers |= {name: wrapped.attributes[name].value for name in wrapped.attributes}
        own = headers.pop(OWN, None)
        if own is not None:
            return _ours(own, text, topic, received, None)
    if (group := native.get("Attributes", {}).get("MessageGroupId")) is not None:
        told["partitionkey"] = str(group)
    if (parent := _traceparent(native)) is not None:
        told["traceparent"] = parent
    body = text.encode("utf-8", "surrogatepass")
    return envelope.decode(told, body, headers=headers, topic=topic, received=received)


class Attribute(msgspec.Struct, frozen=True, rename="pascal"):
    value: str


class Notification(msgspec.Struct, frozen=True, rename="pascal", tag_field="Type", tag="Notification"):
    """What SNS makes of a message for a queue whose subscription does not have raw delivery."""

    message: str
    topic_arn: str
    id: str = msgspec.field(name="MessageId")
    attributes: dict[str, Attribute] = msgspec.field(name="MessageAttributes", default_factory=dict[str, Attribute])


_unwrap = msgspec.json.Decoder(Notification).decode


def unwrapped(text: str) -> Notification | None:
    """What SNS has wrapped, if that is so."""
    if '"Notification"' not in text[:200] and '"TopicArn"' not in text[:1000]:
        return None
    try:
        return _unwrap(text)
    except (msgspec.MsgspecError, ValueError):
        return None


def sent_at(native: Mapping[str, Any]) -> datetime:
    """When SQS got it."""
    stamp = native.get("Attributes", {}).get("SentTimestamp", "")
    return envelope.at(int(stamp) / 1000 if str(stamp).isdecimal() else None) or datetime.now(UTC)


def received_times(native: Mapping[str, Any]) -> int:
    """How often SQS has handed it out, this time included; about."""
    count = str(native.get("Attributes", {}).get("ApproximateReceiveCount", "1"))
    return max(1, int(count)) if count.isdecimal() else 1


def _given_up(native: Mapping[str, Any], subscription: Subscription, message: Message, source: str) -> DeadLetterRecord:
    """The record of what SQS itself dead-lettered, or SNS could not deliver, which says why."""
    told: Mapping[str, Mapping[str, Any]] = native.get("MessageAttributes") or {}
    at = sent_at(native)
    refused = {name: envelope.as_text(told.get(name, {}).get("StringValue", "")) for name in SNS_ERRORS}
    undelivered = bool(refused["ERROR_CODE"] or refused["ERROR_MESSAGE"])
    why = "handed out too often in vain"  # not how often: each look at a letter is once more
    if undelivered:
        why = f"SNS could not deliver it: {refused['ERROR_CODE']} {refused['ERROR_MESSAGE']}".rstrip()
    return DeadLetterRecord(
        id=derived_id(f"{native.get('MessageId', '')} {at.isoformat()} {message.redrives}"),
        reason="delivery_limit",
        disposition="" if undelivered else "poison",
        detail=f"the broker gave it up: {shorten(why, 512)}",
        topic=subscription.topic.name,
        group=subscription.group,
        attempts=message.attempts,
        at=at,
        first_failure=message.first_failure,
        place=str(native.get("Attributes", {}).get("DeadLetterQueueSourceArn", source)),
    )
