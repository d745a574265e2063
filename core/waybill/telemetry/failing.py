"""What a failure is called, in spans and in metrics alike."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from waybill.consumer import held_of
from waybill.errors import BrokerError, LeaseLost, PublishRefused, PublishUnknown
from waybill.message import Delivery
from waybill.outcomes import Failed, Lost, Refused, Unknown

__all__ = ["ERRORS", "GIVEN_BACK", "cut_short", "error_type"]

ERRORS: Final[dict[type, type[BaseException]]] = {
    Refused: PublishRefused,
    Unknown: PublishUnknown,
    Failed: BrokerError,
    Lost: LeaseLost,
}
"""What is raised elsewhere for a broker's answer."""
GIVEN_BACK: Final = frozenset({"shutdown", "lease"})
"""Why a handler may be cancelled without having failed: its message is given back, or has been taken."""


def error_type(error: BaseException | type[BaseException]) -> str:
    """The value of `error.type`: a class with its module, a builtin one without."""
    kind = error if isinstance(error, type) else type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def cut_short(error: BaseException, delivery: Delivery[Any]) -> str | None:
    """Why the handler was cancelled, if it was."""
    held = held_of(delivery) if isinstance(error, asyncio.CancelledError) else None
    return None if held is None or held.run is None else held.run.cause
