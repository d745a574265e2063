"""The library's exceptions as ours, in one place."""

from __future__ import annotations

from contextlib import AbstractContextManager

from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ConnectionNotAllowed,
    ProbableAuthenticationError,
)

from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing
from waybill.foreign import CredentialsRefused, Meanings, NotPermitted, translated

__all__ = ["mapped"]

TABLE: Meanings = (
    ((ProbableAuthenticationError, AuthenticationError, ConnectionNotAllowed), CredentialsRefused),
    ((ChannelNotFoundEntity,), DestinationMissing),
    ((ChannelAccessRefused,), NotPermitted),
    ((ChannelLockedResource,), BrokerError),
    ((AMQPError, OSError, TimeoutError, RuntimeError), BrokerUnavailable),
)


def mapped(doing: str) -> AbstractContextManager[None]:
    """Let nothing of the library out but as `BrokerError`."""
    return translated(doing, TABLE)
