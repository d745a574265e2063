"""How often a message was handled, as far as this process knows. Pure.

SQS counts hand-outs, and carries nothing of ours along when a message goes back. So what this process gave back or put off
is remembered by its id on SQS, with the hand-out at which that was; each later one that was not ours counts as an attempt.
Of a message that is not remembered every hand-out but this one was an attempt: at worst it is counted too often.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

import msgspec

__all__ = ["KNOWN", "Attempts"]

MOST = 100_000


class Known(msgspec.Struct, frozen=True):
    received: int
    """Hand-outs when it went back."""
    attempts: int
    """Handlings then."""
    first_failure: datetime | None = None


class Attempts:
    """Bounded: the oldest goes."""

    def __init__(self, most: int = MOST) -> None:
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._most = most

    def of(self, where: tuple[str, str], received: int, carried: int) -> tuple[int, datetime | None]:
        """The attempt that this hand-out is, and when it failed first. `carried`: the attempts that the message tells."""
        known = self._known.get(where)
        if known is None or known.received > received:
            return carried + received, None
        return known.attempts + max(1, received - known.received), known.first_failure

    def went_back(
        self, where: tuple[str, str], received: int, attempts: int, first_failure: datetime | None = None
    ) -> None:
        self._known.pop(where, None)
        self._known[where] = Known(received, attempts, first_failure)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, where: tuple[str, str]) -> None:
        self._known.pop(where, None)


KNOWN = Attempts()
"""Of this process, whichever of its applications it was."""
