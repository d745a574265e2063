"""The library's exceptions as ours, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from waybill.errors import BrokerError, BrokerUnavailable, ConfigurationError, DestinationMissing, TopologyMismatch
from waybill_kafka.client import errors

__all__ = ["CredentialsRefused", "NotPermitted", "mapped", "raise_for", "said"]


class NotPermitted(BrokerError):
    """The broker knows who asks, and does not let him."""


class CredentialsRefused(BrokerUnavailable):
    """The broker does not let this user in."""


TABLE: tuple[tuple[tuple[type[BaseException], ...], type[BrokerError | ConfigurationError]], ...] = (
    ((errors.AuthenticationFailedError, errors.SaslAuthenticationFailed), CredentialsRefused),
    ((errors.UnknownTopicOrPartitionError,), DestinationMissing),
    (
        (
            errors.TopicAuthorizationFailedError,
            errors.GroupAuthorizationFailedError,
            errors.ClusterAuthorizationFailedError,
        ),
        NotPermitted,
    ),
    ((errors.InvalidTopicError,), TopologyMismatch),
    ((errors.InvalidPartitionsError, errors.InvalidReplicationFactorError, errors.PolicyViolationError), BrokerError),
    ((errors.KafkaError, OSError, TimeoutError), BrokerUnavailable),
)
"""What each means; the first that fits."""


@contextmanager
def mapped(doing: str) -> Generator[None, None, None]:
    """Let nothing of the library out but as `BrokerError`.

    Where a connection has died the library may raise `CancelledError` in a task that nobody has cancelled.
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


def raise_for(code: int, message: str | None = None) -> None:
    """Raise the library's exception for an answer's error code, if it is one."""
    if code:
        kind = errors.for_code(code)
        raise kind(message or kind.description)


def said(error: BaseException) -> str:
    """What the broker or the library said, in one line."""
    text = " ".join(str(argument) for argument in error.args if argument not in {None, ""})
    return " ".join(text.split()) or type(error).__name__
