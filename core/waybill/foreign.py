"""A client library's exceptions as ours: each adapter has a table, and nothing of its library gets out past that."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from waybill.errors import BrokerError, BrokerUnavailable, ConfigurationError

__all__ = ["CredentialsRefused", "Meanings", "NotPermitted", "said", "translated"]


class NotPermitted(BrokerError):
    """The broker knows who asks, and does not let him."""


class CredentialsRefused(BrokerUnavailable):
    """The broker does not let this user in."""


Meanings: TypeAlias = Sequence[tuple[tuple[type[BaseException], ...], type[BrokerError | ConfigurationError]]]
"""What the exceptions of a library mean; the first that fits."""


@contextmanager
def translated(doing: str, meanings: Meanings) -> Generator[None, None, None]:
    """Let nothing of a library out but as what it means, with what was being done when it was raised.

    Where a connection has died, libraries raise `CancelledError` in a task that nobody has cancelled; and where a call is
    cancelled, some raise what came of that, or nothing: whoever was told to end would go on.
    """
    before = _cancellations()
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
        if _cancellations() > before:
            raise asyncio.CancelledError(f"{doing}: cancelled") from error
        for kinds, ours in meanings:
            if isinstance(error, kinds):
                raise ours(f"{doing}: {said(error)}") from error
        raise
    if _cancellations() > before:
        raise asyncio.CancelledError(f"{doing}: cancelled")


def _cancellations() -> int:
    """How often this task was told to end."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop, and so no task
        return 0
    return 0 if task is None else task.cancelling()


def said(error: BaseException) -> str:
    """What the broker or its library said, in one line."""
    text = " ".join(str(argument) for argument in error.args if argument not in {None, ""})
    return " ".join(text.split()) or type(error).__name__
