"""The library's exceptions as ours, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

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

__all__ = ["CredentialsRefused", "NotPermitted", "mapped", "said"]


class NotPermitted(BrokerError):
    """The broker knows who asks, and does not let him."""


class CredentialsRefused(BrokerUnavailable):
    """The broker does not let this user in."""


TABLE: tuple[tuple[tuple[type[BaseException], ...], type[BrokerError]], ...] = (
    ((ProbableAuthenticationError, AuthenticationError, ConnectionNotAllowed), CredentialsRefused),
    ((ChannelNotFoundEntity,), DestinationMissing),
    ((ChannelAccessRefused,), NotPermitted),
    ((ChannelLockedResource,), BrokerError),
    ((AMQPError, OSError, TimeoutError, RuntimeError), BrokerUnavailable),
)
"""What each means; the first that fits."""


@contextmanager
def mapped(doing: str) -> Generator[None, None, None]:
    """Let nothing of the library out but as `BrokerError`.

    On a connection that has died the library raises `CancelledError` in a task that nobody has cancelled.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable(f"{doing}: the connection was lost") from error
    except BrokerError:
        raise
    except Exception as error:
        for kinds, ours in TABLE:
            if isinstance(error, kinds):
                raise ours(f"{doing}: {said(error)}") from error
        raise


def said(error: BaseException) -> str:
    """What the broker or the library said, in one line."""
    text = " ".join(str(argument) for argument in error.args if argument not in {None, ""})
    return text or type(error).__name__
