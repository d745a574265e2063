"""The library's exceptions as ours, in one place, and what is said of one entry of a call that failed."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientConnectorError
from aiohttp import ClientError as HttpError
from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
    BotoCoreError,
    ClientError,
    ConfigParseError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidConfigError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from waybill.errors import BrokerError, BrokerUnavailable, ConfigurationError, DestinationMissing
from waybill.foreign import CredentialsRefused, Meanings, NotPermitted, translated

__all__ = ["EXPIRED", "NotLetIn", "NotTaken", "Throttled", "is_lost", "mapped", "refusal"]


class NotTaken(BrokerUnavailable):
    """AWS has certainly not done it; later it may."""


class NotLetIn(CredentialsRefused, NotTaken):
    """AWS does not know who we are, or does no longer, or lends us no role: with fresh credentials it may."""


class Throttled(NotTaken):
    """AWS wants fewer calls."""


TABLE: Meanings = (
    (
        (
            NoCredentialsError,
            PartialCredentialsError,
            CredentialRetrievalError,
            TokenRetrievalError,
            UnauthorizedSSOTokenError,
        ),
        NotLetIn,
    ),
    ((ConfigParseError, InvalidConfigError, ProfileNotFound, ParamValidationError), ConfigurationError),
    ((ConnectTimeoutError,), NotTaken),
    ((HTTPClientError, HttpError, OSError, TimeoutError, BotoCoreError), BrokerUnavailable),
    # Refreshed credentials that are too old, and a client that is closed meanwhile.
    ((RuntimeError,), BrokerUnavailable),
)
CODES: Mapping[str, type[BrokerError]] = {
    **dict.fromkeys(
        ("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestLimitExceeded",
         "TooManyRequestsException", "KmsThrottled", "KMSThrottling", "OverLimit", "SlowDown"),
        Throttled,
    ),
    **dict.fromkeys(
        ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue", "NotFound", "QueueDeletedRecently",
         "AWS.SimpleQueueService.QueueDeletedRecently"),
        DestinationMissing,
    ),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "KmsAccessDenied",
         "KMSAccessDenied"),
        NotPermitted,
    ),
    **dict.fromkeys(
        ("InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "UnrecognizedClientException", "ExpiredToken",
         "ExpiredTokenException", "RequestExpired", "InvalidSecurity", "MissingAuthenticationToken", "IncompleteSignature"),
        NotLetIn,
    ),
}  # fmt: skip
EXPIRED = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"})


@contextmanager
def mapped(doing: str) -> Generator[None, None, None]:
    """Let nothing of the library out but as `BrokerError`."""
    with translated(doing, TABLE):
        try:
            yield
        except EndpointConnectionError as error:
            # The library says this as well where a connection broke with the request on its way.
            unsent = isinstance(error.__context__, ClientConnectorError)
            raise (NotTaken if unsent else BrokerUnavailable)(f"{doing}: {error}") from error
        except ClientError as error:
            told: Any = error.response
            code = str(told.get("Error", {}).get("Code", ""))
            status = told.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
            text = str(told.get("Error", {}).get("Message", "")) or code
            # The library assumes roles by itself, before a call.
            lent = str(getattr(error, "operation_name", "")).startswith("AssumeRole")
            raise (NotLetIn if lent else _meaning(code, status))(
                f"{doing}: {' '.join(text.split())} ({code})"
            ) from error


def _meaning(code: str, status: int) -> type[BrokerError]:
    for name in (code, code.rpartition(".")[2]):
        if name in CODES:
            return CODES[name]
    if status in {429, 503}:
        return Throttled
    return BrokerUnavailable if status >= 500 else BrokerError


def refusal(failed: Mapping[str, Any]) -> tuple[str, bool]:
    """What is said of an entry that failed, and whether it may be taken later."""
    code = str(failed.get("Code", ""))
    text = f"{failed.get('Message') or 'AWS does not say why'} ({code})"
    return text, not failed.get("SenderFault", False) or CODES.get(code) is Throttled


def is_lost(failed: Mapping[str, Any]) -> bool:
    """Whether an entry failed since the message is no longer ours."""
    code = str(failed.get("Code", ""))
    return code in EXPIRED or "receipt handle" in str(failed.get("Message", "")).lower()
