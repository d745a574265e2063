"""The library's exceptions as ours, in one place."""

from __future__ import annotations

from contextlib import AbstractContextManager

from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing, TopologyMismatch
from waybill.foreign import CredentialsRefused, Meanings, NotPermitted, translated
from waybill_kafka.client import errors

__all__ = ["mapped", "raise_for"]

TABLE: Meanings = (
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


def mapped(doing: str) -> AbstractContextManager[None]:
    """Let nothing of the library out but as `BrokerError`."""
    return translated(doing, TABLE)


def raise_for(code: int, message: str | None = None) -> None:
    """Raise the library's exception for an answer's error code, if it is one."""
    if code:
        kind = errors.for_code(code)
        raise kind(message or kind.description)
