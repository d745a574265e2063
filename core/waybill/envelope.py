"""A message's attributes as text, in CloudEvents 1.0 binary mode, and back.

`encode` gives the CloudEvents attributes by their names (`id`, `source`, `type`, `time` …, without any broker's prefix:
an adapter adds `ce_`, `cloudEvents:` or what its binding says). What only Waybill needs travels in one more entry,
`waybill`, a JSON object with its version `v`; a message that has nothing of the kind has no such entry.
`decode` takes what is there: a message from elsewhere, without any of it, is a message with what it has.

Source: CloudEvents 1.0.2 (attributes), its Partitioning, Correlation and Expiry Time extensions, and Distributed Tracing.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from waybill.errors import DecodeError
from waybill.message import CLOUDEVENTS, NO_HEADERS, DeadLetterRecord, Message

__all__ = ["RESERVED", "UNREADABLE", "VERSION", "as_text", "at", "decode", "encode", "trace", "unreadable", "utc"]

VERSION = 1
SPEC = "1.0"

RESERVED = frozenset(
    {"specversion", "id", "source", "type", "time", "traceparent", "tracestate", "waybill", *CLOUDEVENTS.values()}
)
"""Names that headers cannot have."""
FURTHER = RESERVED - {"specversion", "id", "source", "type", "time", "partitionkey", "datacontenttype"}
"""What most messages do without."""

TRACEPARENT = re.compile(
    r"00-{ids}|(?!00|ff)[0-9a-f]{{2}}-{ids}(-.{{0,256}})?".format(
        ids="(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    )
)
LONGEST_STATE = 512
"""Characters of `tracestate` that everybody has to pass on."""

UNREADABLE = "application/x-unreadable"
"""The content type of a stand-in: no codec reads it, so it becomes a dead letter."""


class Transit(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a copy must remember on its way through retries and dead letters."""

    v: int
    attempts: int = 0
    redrives: int = 0
    redrive: str | None = None
    edit_of: str | None = None
    due: datetime | None = None
    first_failure: datetime | None = None
    redrive_span: str | None = None
    dead: DeadLetterRecord | None = None


_encode_transit = msgspec.json.Encoder().encode
_decode_transit = msgspec.json.Decoder(Transit).decode


def encode(message: Message) -> dict[str, str]:
    """The message's attributes by their CloudEvents names. The user's headers and the body are not among them."""
    attributes = {
        "specversion": SPEC,
        "id": message.id,
        "source": message.source,
        "type": message.type,
        "time": message.time.isoformat(),
    }
    if message.content_type is not None:
        attributes["datacontenttype"] = message.content_type
    if message.schema is not None:
        attributes["dataschema"] = message.schema
    if message.key is not None:
        attributes["partitionkey"] = message.key
    if message.correlation_id is not None:
        attributes["correlationid"] = message.correlation_id
    if message.causation_id is not None:
        attributes["causationid"] = message.causation_id
    if message.expires is not None:
        attributes["expirytime"] = message.expires.isoformat()
    if message.traceparent is not None:
        attributes["traceparent"] = message.traceparent
    if message.tracestate is not None:
        attributes["tracestate"] = message.tracestate
    if message.attempts or message.redrives or message.due or message.first_failure or message.dead:
        transit = Transit(
            v=VERSION,
            attempts=message.attempts,
            redrives=message.redrives,
            redrive=message.redrive,
            edit_of=message.edit_of,
            due=message.due,
            first_failure=message.first_failure,
            redrive_span=message.redrive_span,
            dead=message.dead,
        )
        attributes["waybill"] = _encode_transit(transit).decode()
    return attributes


def decode(
    attributes: Mapping[str, str],
    body: bytes | None,
    *,
    headers: Mapping[str, str] = NO_HEADERS,
    topic: str,
    received: datetime,
) -> Message:
    """The message these attributes describe.

    What is missing is filled in: an id of its own, `topic` as type, `received` as time. Raises `DecodeError` when the
    part that only Waybill writes cannot be read, or was written by a later version that this one cannot understand.
    """
    get = attributes.get
    message = Message(
        id=get("id") or str(uuid.uuid4()),
        body=body,
        type=get("type") or topic,
        source=get("source") or "",
        time=_instant(get("time")) or received,
        key=get("partitionkey"),
        headers=headers,
        content_type=get("datacontenttype"),
    )
    return message if FURTHER.isdisjoint(attributes) else _further(message, attributes)


def _further(message: Message, attributes: Mapping[str, str]) -> Message:
    """With what few messages have."""
    get = attributes.get
    text = get("waybill")
    transit = _FRESH if text is None else _transit(text)
    return msgspec.structs.replace(
        message,
        schema=get("dataschema"),
        correlation_id=get("correlationid"),
        causation_id=get("causationid"),
        expires=_instant(get("expirytime")),
        traceparent=get("traceparent"),
        tracestate=get("tracestate"),
        due=transit.due,
        attempts=max(0, transit.attempts),
        redrives=max(0, transit.redrives),
        redrive=transit.redrive,
        edit_of=transit.edit_of,
        first_failure=transit.first_failure,
        redrive_span=transit.redrive_span,
        dead=transit.dead,
    )


_FRESH = Transit(v=VERSION)


def unreadable(
    body: bytes | None,
    why: str,
    *,
    topic: str,
    received: datetime,
    ident: str | None = None,
    key: str | None = None,
    raw: str = "",
) -> Message:
    """A stand-in for a message whose attributes cannot be read, so that its bytes end among the dead letters.

    `ident`: its id, where it has one that can be read. Its headers tell `why` (`unreadable`) and keep the attributes as they came (`attributes`: `raw`).
    """
    return Message(
        id=ident or str(uuid.uuid4()),
        body=body,
        type=topic,
        source="",
        time=received,
        key=key,
        headers={"unreadable": why, "attributes": raw},
        content_type=UNREADABLE,
    )


def trace(message: Message) -> tuple[str | None, str | None]:
    """The `traceparent` and `tracestate` that what follows from the message goes on with: none where they are malformed.

    Source: W3C Trace Context, 3.2 and 4.3.
    """
    parent, state = message.traceparent, message.tracestate
    if parent is None or not TRACEPARENT.fullmatch(parent):
        return None, None
    return parent, state if state is not None and len(state) <= LONGEST_STATE else None


def as_text(value: object) -> str:
    """What another program gave as a header's value: bytes that are no UTF-8, numbers, tables within tables."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return json.dumps(value, default=str, ensure_ascii=False)


def at(seconds: object) -> datetime | None:
    """The time so many seconds after the epoch, where that is one."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) else None
    except (ValueError, OverflowError, OSError):
        return None


def _transit(text: str) -> Transit:
    try:
        transit = _decode_transit(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"the `waybill` attribute cannot be read: {error}") from error
    if transit.v > VERSION:
        raise DecodeError(
            f"the message was written by a later Waybill (envelope version {transit.v}, this one reads {VERSION}): upgrade"
        )
    return transit


def _instant(text: str | None) -> datetime | None:
    """RFC 3339 to a UTC time; what cannot be read counts as not given, since it is only told, never acted on."""
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is UTC:
        return instant
    try:
        return utc(instant)
    except (OverflowError, ValueError):  # within a day of the first or the last year
        return None


def utc(instant: datetime) -> datetime:
    """In UTC, which is meant where no zone is named. Raises `OverflowError` within a day of the first or the last year."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
