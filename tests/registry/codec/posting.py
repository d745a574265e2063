"""Bodies as another program publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from waybill import App, Message, Topic
from waybill.ids import new_id


async def post(app: App, topic: Topic, *bodies: bytes, headers: Mapping[str, str] | None = None) -> list[str]:
    """Their ids."""
    runtime = app._running()
    deadline = runtime.deadline(None)
    port = await runtime.port(topic, deadline)
    sent = []
    for body in bodies:
        message = Message(
            id=new_id(),
            body=body,
            type=topic.name,
            source="another",
            time=datetime.now(UTC),
            headers=dict(headers or {}),
            content_type=topic.codec.content_type,
        )
        sent.append((await port.publish(message, deadline)).id)
    return sent


def long_(number: int) -> bytes:
    """As Avro writes an integer."""
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text(value: str) -> bytes:
    raw = value.encode()
    return long_(len(raw)) + raw
