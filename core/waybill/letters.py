"""Dead letters, looked at: page by page, and written out. Nothing is taken and nothing removed."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Any

import msgspec

from waybill import envelope
from waybill.adapter import Admin, Page
from waybill.message import DeadLetterRecord, Message
from waybill.topology import Subscription

__all__ = ["Exported", "as_object", "export", "pages", "record_of", "unknown"]

BATCH = 500
"""Letters read at once."""


class Exported(msgspec.Struct, frozen=True):
    """What was written of one group's dead letters."""

    written: int = 0
    complete: bool = True
    """`False`: the broker could not show all of them, e.g. because others hold some now."""


async def export(
    admin: Admin,
    subscription: Subscription,
    wanted: Callable[[Message], bool],
    write: Callable[[bytes], object],
    *,
    limit: int | None = None,
) -> Exported:
    """Write the group's dead letters that are `wanted` as lines of JSON (`as_object`), oldest first. Removes nothing."""
    written, complete = 0, True
    async for page in pages(admin, subscription):
        complete = complete and page.complete
        for message in page.messages:
            if limit is not None and written >= limit:
                return Exported(written, complete)
            if wanted(message):
                write(msgspec.json.encode(as_object(subscription, message)) + b"\n")
                written += 1
    return Exported(written, complete)


async def pages(admin: Admin, subscription: Subscription) -> AsyncGenerator[Page, None]:
    """Look at all dead letters of a group, oldest first, a page at a time."""
    after = None
    while True:
        page = await admin.browse(subscription, after=after, limit=BATCH)
        yield page
        after = page.after
        if after is None:
            return


def record_of(subscription: Subscription, message: Message) -> DeadLetterRecord:
    """Why the letter is there; with the reason `unknown` where somebody else has put it there."""
    return message.dead or unknown(message, subscription.topic.name, subscription.group)


def unknown(message: Message, topic: str, group: str) -> DeadLetterRecord:
    """What can be said of a dead letter that came without a record."""
    return DeadLetterRecord(reason="unknown", topic=topic, group=group, attempts=message.attempts, at=message.time)


def as_object(subscription: Subscription, message: Message) -> dict[str, Any]:
    """A dead letter as JSON can hold it: attributes by their CloudEvents names, headers, record and body.

    The body is text where it is UTF-8, else base64, and `body_encoding` says which; it is `null` for a tombstone.
    """
    attributes = envelope.encode(message)
    attributes.pop("waybill", None)  # the record and the count, which stand by themselves
    record: dict[str, Any] = msgspec.structs.asdict(record_of(subscription, message))
    body = message.body
    try:
        text, encoding = (None, None) if body is None else (body.decode(), "utf-8")
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(body or b"").decode(), "base64"
    return {
        "topic": subscription.topic.name,
        "group": subscription.group,
        "redrives": message.redrives,
        "redrive": message.redrive,
        "edit_of": message.edit_of,
        "attributes": attributes,
        "headers": dict(message.headers),
        "record": {name: value.isoformat() if isinstance(value, datetime) else value for name, value in record.items()},
        "body": text,
        "body_encoding": encoding,
    }
