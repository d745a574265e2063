"""From a value to the message that carries it: encoded, checked, and with an id that says what it follows from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from waybill.codec import TombstoneCodec
from waybill.consumer import held_of
from waybill.envelope import trace
from waybill.errors import EncodeError
from waybill.handling import current_handling
from waybill.headers import check_headers
from waybill.ids import derived_id, new_id
from waybill.message import NO_HEADERS, Delivery, Message, Tombstone
from waybill.retry import seconds
from waybill.topic import Topic, check_key

__all__ = ["Duration", "message_of"]

T = TypeVar("T")
Duration: TypeAlias = float | timedelta


def message_of(
    application: str,
    topic: Topic[T],
    value: T,
    *,
    now: float,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    delay: Duration | None = None,
    expires: Duration | None = None,
    cause: Delivery[Any] | None = None,
) -> Message:
    """What is sent when `application` publishes `value`; the options are those of `App.publish`. `now`: on the epoch.

    Raises `EncodeError`, `ConfigurationError` (key, headers, durations).
    """
    body = _body(topic, value, key)
    key = topic.key_of(value) if key is None else check_key(key, topic.name)
    own = None if topic.id is None else topic.id_of(value)
    identity, correlation, causation, traceparent, tracestate = _origin(application, topic, own, cause)
    return Message(
        id=identity,
        body=body,
        type=topic.name,
        source=application,
        time=datetime.fromtimestamp(now, UTC),
        key=key,
        headers=check_headers(headers) if headers else NO_HEADERS,
        content_type=topic.codec.content_type,
        correlation_id=correlation,
        causation_id=causation,
        expires=None if expires is None else datetime.fromtimestamp(now + seconds(expires, "expires"), UTC),
        traceparent=traceparent,
        tracestate=tracestate,
        due=None if not delay else datetime.fromtimestamp(now + seconds(delay, "delay"), UTC),
    )


def _body(topic: Topic[T], value: T, key: str | None) -> bytes | None:
    if type(value) is Tombstone:
        if not isinstance(topic.codec, TombstoneCodec):
            raise EncodeError(f"{topic.name} carries no tombstones: make it with Topic.with_tombstones(…)")
        if key is not None:
            raise EncodeError(f"{topic.name}: a tombstone has its key already, so drop key={key!r}")
        return None
    try:
        return topic.codec.encode(value)
    except EncodeError as error:
        raise EncodeError(f"{topic.name}: {error}") from error


def _origin(
    application: str, topic: Topic[Any], own: str | None, cause: Delivery[Any] | None
) -> tuple[str, str | None, str | None, str | None, str | None]:
    """Its id, then what it follows from: correlation, causation, traceparent, tracestate.

    In a handler the id follows from the incoming message, unless the topic gives its `own`.
    """
    handling = current_handling.get() if cause is None else held_of(cause)
    if handling is None:
        return own or new_id(), None, None, None, None
    incoming = handling.delivery.message
    ordinal = handling.ordinal(topic.name)
    identity = own or derived_id(f"{application}/{handling.delivery.group}/{incoming.id}/{topic.name}/{ordinal}")
    return identity, incoming.correlation_id or incoming.id, incoming.id, *trace(incoming)
