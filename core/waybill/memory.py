"""What was handled and may come again, since nobody knows whether its acknowledgement arrived. Bounded: the oldest goes."""

from __future__ import annotations

from collections import OrderedDict

from waybill.message import Message

__all__ = ["Memory", "identity"]

SIZE = 10_000
"""Messages that a consumer remembers."""


class Memory:
    """Messages that were handled and whose acknowledgement was lost, each with the attempt it was handed out as."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int], None] = OrderedDict()

    def remember(self, message: Message, attempt: int) -> None:
        self._known[identity(message, attempt)] = None
        if len(self._known) > SIZE:
            self._known.popitem(last=False)

    def recall(self, message: Message, attempt: int) -> bool:
        """Whether it was handled; it is forgotten then."""
        return self._known.pop(identity(message, attempt), self) is None


def identity(message: Message, attempt: int) -> tuple[str, int, int]:
    """What tells one handling from another, also when the delivery is a new one."""
    return message.id, attempt, message.redrives
