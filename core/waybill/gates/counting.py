"""Which failures a circuit breaker counts: those that speak of what the handler depends on, and not of the message. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

from waybill.errors import CodecError, ConfigurationError, Outcome, parts_of
from waybill.gates.gate import Failure

__all__ = ["Counts", "counting", "verdict"]

log = logging.getLogger("waybill.breaker")

Counts: TypeAlias = type[BaseException] | Sequence[type[BaseException]] | Callable[[BaseException], bool]

NEVER = (Outcome, CodecError)
"""They speak of the message, whatever is said of their classes."""


def verdict(failures: int, counted: int, number: int, share: float) -> bool | None:
    """Whether a handling of so many messages has failed, as the breaker sees it. `None`: what failed was the messages' own."""
    if counted:
        return counted >= share * number
    return None if failures == number else False


def counting(counts: Counts | None) -> Callable[[Failure], bool]:
    """Whether it is the dependency that has failed. What is returned raises nothing."""
    if counts is None:
        return _is_not_the_messages
    if isinstance(counts, type | Sequence):
        kinds = (counts,) if isinstance(counts, type) else tuple(cast("Sequence[Any]", counts))
        if not kinds:
            raise ConfigurationError("CircuitBreaker: counts=(): nothing would count, and it would never open")
        for kind in kinds:
            if not isinstance(kind, type) or not issubclass(kind, BaseException):
                raise ConfigurationError(f"CircuitBreaker: counts={kind!r} is no exception class")
        return lambda failure: _is_one_of(failure.error, kinds)
    if not callable(counts):
        raise ConfigurationError(
            f"CircuitBreaker: counts={counts!r}: exception classes, or a function of the exception"
        )
    return lambda failure: not _is_the_messages(failure.error) and _as_told(counts, failure.error)


def _is_the_messages(error: BaseException) -> bool:
    return all(isinstance(part, NEVER) for part in parts_of(error) or (error,))


def _is_one_of(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    return any(isinstance(part, kinds) and not isinstance(part, NEVER) for part in parts_of(error) or (error,))


def _is_not_the_messages(failure: Failure) -> bool:
    if failure.parts:
        return any(map(_is_not_the_messages, failure.parts))
    error = failure.error
    return failure.kind in {"transient", "systemic"} and isinstance(error, Exception) and not isinstance(error, NEVER)


def _as_told(counts: Callable[[BaseException], bool], error: BaseException) -> bool:
    try:
        return bool(counts(error))
    except Exception:
        log.exception("a breaker's counts=… failed: the failure is taken as one of the dependency")
        return True
