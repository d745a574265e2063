"""A middleware is a function from handler to handler; the same holds on the way out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from waybill.message import Delivery, Outgoing
from waybill.outcomes import Confirmed

__all__ = ["BatchHandler", "BatchMiddleware", "Handler", "Middleware", "Send", "SendMiddleware", "compose"]

Handler: TypeAlias = Callable[[Delivery[Any]], Awaitable[None]]
"""Returns: acknowledge. Raises: what the subscription's policy makes of it."""
Middleware: TypeAlias = Callable[[Handler], Handler]

BatchHandler: TypeAlias = Callable[[Sequence[Delivery[Any]]], Awaitable[None]]
"""Returns: acknowledge all. Raises `ItemsFailed`: those failed; anything else: all of them failed."""
BatchMiddleware: TypeAlias = Callable[[BatchHandler], BatchHandler]

Send: TypeAlias = Callable[[Outgoing], Awaitable[Confirmed]]
"""Raises `PublishRefused` or `PublishUnknown`."""
SendMiddleware: TypeAlias = Callable[[Send], Send]

F = TypeVar("F", bound=Callable[..., Any])


def compose(middleware: Sequence[Callable[[F], F]], innermost: F) -> F:
    """The first of `middleware` becomes the outermost."""
    for wrap in reversed(middleware):
        innermost = wrap(innermost)
    return innermost
