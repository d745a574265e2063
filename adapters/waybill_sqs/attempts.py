"""How often a message was tried in place before it went back, as far as this process knows. Pure.

A message that is put off becomes a copy that says how often it was handled. One that waits here for its retry, since its key
does, and is given back then, cannot: SQS carries nothing of ours along. So this process remembers, and others do not know.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["TRIED", "Tried"]

MOST = 10_000


class Tried:
    """Attempts by queue and id on SQS. Bounded: the oldest goes."""

    def __init__(self, most: int = MOST) -> None:
        self._known: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._most = most

    def note(self, where: tuple[str, str], attempts: int) -> None:
        self._known.pop(where, None)
        self._known[where] = attempts
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def of(self, where: tuple[str, str], carried: int) -> int:
        """The attempts before this one. `carried`: those that the message tells."""
        return max(carried, self._known.get(where, 0)) if self._known else carried


TRIED = Tried()
"""Of this process, whichever of its applications it was."""
