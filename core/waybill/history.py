"""What a topic has kept of what was handled: for `waybill.replaying`, on brokers whose topics can be read again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from waybill.errors import ConfigurationError
from waybill.message import Delivery, Message
from waybill.topology import Subscription

__all__ = ["KeepsHistory", "Past", "Stretch"]


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of what a topic has kept. What is not given bounds nothing.

    since, until: published at this time or later, and before that one; with their time zone.
    first, last: from these positions on, and up to these and with them; as `Confirmed.position` tells them, at most one a
    partition. Where any is given, of partitions that none names there is nothing.
    keys: of these keys alone. first_key, last_key: of the keys between these, and of these two.

    Raises `ConfigurationError` for what can hold nothing.
    """

    since: datetime | None = None
    until: datetime | None = None
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    first_key: str | None = None
    last_key: str | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            time: datetime | None = getattr(self, name)
            if time is not None and time.tzinfo is None:
                raise ConfigurationError(f"{name}={time.isoformat()}: give its time zone, e.g. tzinfo=UTC")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ConfigurationError(f"nothing is published since {self.since} and before {self.until}")
        if self.first_key is not None and self.last_key is not None and self.first_key > self.last_key:
            raise ConfigurationError(f"no key is between {self.first_key!r} and {self.last_key!r}: swap them")

    def holds(self, message: Message) -> bool:
        """Whether the message's key is among those asked for."""
        if not (self.keys or self.first_key is not None or self.last_key is not None):
            return True
        key = message.key
        return (
            key is not None
            and (not self.keys or key in self.keys)
            and (self.first_key is None or key >= self.first_key)
            and (self.last_key is None or key <= self.last_key)
        )


class Past(Protocol):
    """A stretch of a topic's history, opened. What comes after it was opened is no part of it."""

    @property
    def total(self) -> int:
        """At most so many messages, of whatever key."""
        ...

    async def read(self, limit: int) -> Sequence[Delivery[Any]] | None:
        """The next, at most so many; those of one key in publishing order. Empty: not now; `None`: that was all.

        There is nothing to settle, and no group, living or not, is touched. Raises `BrokerError`.
        """
        ...


@runtime_checkable
class KeepsHistory(Protocol):
    """An adapter, entered, whose `Capabilities.replays` says that topics can be read again."""

    def past(self, subscription: Subscription, stretch: Stretch) -> AbstractAsyncContextManager[Past]:
        """Read that stretch of the subscription's topic, for nobody: its group is only what deliveries name.

        Keys are not looked at here. Raises `ConfigurationError` for a position that is none, `DestinationMissing`.
        """
        ...

    async def seek(self, subscription: Subscription, stretch: Stretch) -> None:
        """Have the group begin at the stretch's beginning when it comes back: what lies before counts as handled, what lies
        behind as not. Partitions that `first` does not name, where it names any, stay where they are.

        Raises `BrokerError`, having changed nothing, while the group has a living member.
        """
        ...
