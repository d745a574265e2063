"""What travels: a message, and one delivery of it to one group.

Both are msgspec structs (ADR 0007): they are made once a message, and msgspec makes a frozen one at an
eighth of the cost of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import msgspec

__all__ = ["DeadLetterRecord", "Delivery", "Message", "Outgoing", "Tombstone"]

T = TypeVar("T")

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Tombstone(msgspec.Struct, frozen=True):
    """Published instead of a value: what `key` stood for is gone. See `Topic.with_tombstones`."""

    key: str


class DeadLetterRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a message lies among the dead letters of a group, and where it came from."""

    id: str = ""
    """Of this dead-lettering; `""` where a broker, or somebody else, has put the message there."""
    reason: str
    """One of `decode_error`, `rejected`, `retries_exhausted`, `non_retryable`, `expired`, `crashed`, `redrive_limit`; where the
    broker itself gave it up also `delivery_limit` (handed out too often in vain), `max_length` (its queue was full)."""
    disposition: str = ""
    """What it says of a redrive: `poison` (it will never work), `transient_exhausted`, `systemic` (a dependency was down),
    `policy` (a rule of ours); `""`: unknown."""
    fingerprint: str = ""
    """The same for letters that failed alike: of the error's class, the top frame of the service's own code, and the type."""
    detail: str = ""
    """The reject reason or the error's text, at most 1 KiB."""
    topic: str
    group: str
    attempts: int
    """How many times a handler was started for it."""
    at: datetime
    first_failure: datetime | None = None
    error: str | None = None
    """The error's class, as `module.Class`."""
    frame: str = ""
    """The innermost frame of the service's own code, as `module:function`."""
    stack: str | None = None
    """The end of the traceback, at most 8 KiB."""
    handler: str = ""
    """Its name."""
    service: str = ""
    """The application that gave it up, …"""
    version: str = ""
    """… and that one's version, where the settings say it."""
    library: str = ""
    """Waybill's version."""
    host: str = ""
    process: int = 0
    place: str = ""
    """Where the broker had it, in its own words: exchange and routing key, partition and offset, the queue's ARN."""
    span: str | None = None
    """The `traceparent` of the span that it failed in. The message's own stays what it was."""

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:  # another program's, or a file's: UTC is meant where no zone is named
            msgspec.structs.force_setattr(self, "at", self.at.replace(tzinfo=UTC))


CLOUDEVENTS = {
    "content_type": "datacontenttype",
    "schema": "dataschema",
    "key": "partitionkey",
    "correlation_id": "correlationid",
    "causation_id": "causationid",
    "expires": "expirytime",
}
"""Attributes whose CloudEvents name differs from ours."""


class Message(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename=CLOUDEVENTS,
    omit_defaults=True,
    tag_field="specversion",
    tag="1.0",
):
    """One message: the attributes of CloudEvents 1.0, the user's headers, and the body as bytes."""

    id: str
    """Stays the same over redelivery, retry, dead-lettering and redrive."""
    body: bytes | None = None
    """`None`: a tombstone, which says that the key's value is gone."""
    type: str
    """What happened; the topic's name."""
    source: str
    """The application that published it."""
    time: datetime
    """When it was published (UTC)."""
    key: str | None = None
    """Messages of one key keep their order where the topic is consumed `ordered`."""
    headers: Mapping[str, str] = NO_HEADERS
    content_type: str | None = None
    schema: str | None = None
    correlation_id: str | None = None
    """The id of the message that began the story."""
    causation_id: str | None = None
    """The id of the message whose handler published this one."""
    expires: datetime | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    due: datetime | None = None
    """Not to be delivered before; `None` on what has been delivered."""
    attempts: int = 0
    """Handlings that failed before this copy was made. Not zero only on a copy that waits for a retry."""
    redrives: int = 0
    """How many times it came back from the dead letters."""
    redrive: str | None = None
    """The operation that brought it back last."""
    edit_of: str | None = None
    """The id of the dead letter that this is a mended copy of."""
    redrive_span: str | None = None
    """The `traceparent` of the span that sent it back; `traceparent` stays what it was."""
    first_failure: datetime | None = None
    dead: DeadLetterRecord | None = None
    """Set on a dead letter."""


class Holder(Protocol):
    """The consumer that holds a delivery, as the delivery sees it."""

    @property
    def decode(self) -> Callable[[Message], Any]: ...
    async def extend(self, delivery: Delivery[Any], more: float) -> None: ...


class Delivery(msgspec.Struct, Generic[T], frozen=True, eq=False, kw_only=True, weakref=True):
    """One message handed to one member of a group, for as long as its lease lasts."""

    message: Message
    topic: str
    group: str
    attempt: int = 1
    """1 for the first handling. Never decreases; a release does not count."""
    redelivered: bool = False
    """Whether the broker says that it was handed out before. `False` is no promise that it was not."""
    handed_out: int | None = None
    """The broker's own count of hand-outs, this one included; `None`: it keeps none. Prefetched ones and releases count
    as well, so it detects what kills processes and nothing finer."""
    out_of_order: bool = False
    """Whether later messages of its key may have been handled before: it failed, and the subscription is relaxed."""
    replayed: bool = False
    """Whether it is history, handled once more because somebody asked for it (`App.replay`), and not news."""
    lease_until: float = float("inf")
    """When the lease ended at first, on `time.monotonic()`. Extensions are not written here."""
    partition: str | None = None
    """The broker's own unit of order and ownership, where it has one."""
    token: Any = None
    """What the adapter needs to settle it: hashable, one of a kind, and where the adapter keeps what changes."""
    native: Any = None
    """The client library's own object, for what no portable interface offers."""
    _holder: Holder | None = None
    _value: Any = msgspec.UNSET
    _span: Any = None
    """The context of the span that it was handled in, for whoever traces."""

    @property
    def value(self) -> T:
        """The body as the topic's type; decoded at the first look. Raises `DecodeError`."""
        if self._value is msgspec.UNSET:
            if self._holder is None:
                raise LookupError("this delivery was not made by a running consumer, so it has no decoder")
            msgspec.structs.force_setattr(self, "_value", self._holder.decode(self.message))
        return self._value  # type: ignore[no-any-return]

    async def extend(self, seconds: float | timedelta) -> None:
        """Ask for more time: renew the lease now and move the handler's deadline to `seconds` from now.

        The lease is renewed by itself while a handler runs; this is for a handler that finds out that it will need
        longer than its `timeout`. Raises `LeaseLost` when the delivery is no longer ours.
        """
        if self._holder is None:
            raise LookupError("this delivery was not made by a running consumer, so nobody can extend it")
        await self._holder.extend(self, seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds))


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way out, as send-middleware sees it."""

    topic: str
    message: Message
    deadline: float
    """When the publish is given up, on the running loop's clock."""
    broker: str | None = None
    """The name of the broker that the topic lies on; `None`: the default one."""
    many: bool = False
    """Whether it is one of those that `publish_many` was given."""
