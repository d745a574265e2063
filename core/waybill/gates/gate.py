"""What stands between fetching and handling: a gate lets handlings start, or keeps them waiting while leases are renewed.

A gate decides and holds no message. A consumer asks it before it fetches and before it starts a handler, tells it of each
start and each end, and is called by it when more may start. All on one event loop; nothing here waits or raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from waybill.classifying import Kind

__all__ = ["Failure", "Gate"]


class Failure(msgspec.Struct, frozen=True):
    """What came of a delivery that failed."""

    error: BaseException
    """A timeout is a `HandlerTimeout`."""
    kind: Kind
    """What it says of the message and of the others, by the subscription's tables."""
    again: bool = False
    """Whether a failure of the same delivery was forgiven before."""
    parts: Sequence[Failure] = ()
    """Of a group of errors, each of them."""


class Gate(Protocol):
    """One gate of one consumer or of several, which share what it lets through."""

    def join(self, on_open: Callable[[], None]) -> None:
        """A consumer begins to ask. `on_open`: called when more may start or be fetched than before; starts what it can."""
        ...

    def leave(self, on_open: Callable[[], None]) -> None:
        """That consumer has ended, or could not begin. What it has started has ended as well, but for handlers that ignore being
        cancelled: of them `end` and `gone` may tell later."""
        ...

    def wanted(self, number: int, waiting: int) -> int:
        """How many deliveries to fetch, of the `number` that there is room for, while `waiting` could start already."""
        ...

    def free(self, now: float) -> bool:
        """Whether one more handling may start. `now`: `time.monotonic()`. Called again when `join`'s function was."""
        ...

    def start(self, now: float) -> None:
        """A handling starts, right after `free` said yes."""
        ...

    def end(self, now: float, took: float, failures: Sequence[Failure] | None, number: int) -> None:
        """What came of a handling of `number` deliveries that was started, after `took` seconds. Once for each: when it has
        ended, or when it was cancelled and does not end, as a call in a thread that hangs.

        failures: of the deliveries that failed, one each (a batch may have several); empty: all is well; `None`: it says
        nothing, since it was cut short for a shutdown or a lost lease.
        """
        ...

    def gone(self) -> None:
        """A handling that was started runs no more. After `end`, and long after it if it ignores being cancelled."""
        ...

    def forgives(self, failure: Failure, began: float) -> bool:
        """After `end` and `gone`: whether this failure of a handling that began then is not the message's: it is kept, and
        handled once more, at no cost in attempts."""
        ...

    @property
    def shut(self) -> str | None:
        """Why it lets nothing through now, for people; `None`: it does, or is only busy."""
        ...
