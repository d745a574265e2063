"""Looking at dead letters where a broker can only hand out and take back: one look fetches all, and its pages are kept."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from waybill.adapter import Page
from waybill.message import Message

__all__ = ["Look", "Looks"]

KEPT = 60.0
"""Seconds that a look is kept for its next page."""

L = TypeVar("L")


class Look(msgspec.Struct, Generic[L], eq=False):
    """What was fetched at one time, oldest first, as the broker gave it."""

    letters: Sequence[L]
    complete: bool
    at: float = msgspec.field(default_factory=time.monotonic)


class Looks(Generic[L]):
    """One application's looks: what `Admin.browse` needs between two pages."""

    def __init__(self) -> None:
        self._kept: dict[str, Look[L]] = {}

    async def page(
        self, after: str | None, limit: int, *, look: Callable[[], Awaitable[Look[L]]], read: Callable[[L], Message]
    ) -> Page:
        """Letters behind `after`, which is a look's name and a place in it; of a new look where it is not known any more.

        look: fetches all that there are. read: makes a message of one.
        """
        name, _, place = (after or "").partition(".")
        start = int(place) if place.isdecimal() else 0
        found = self._kept.pop(name, None)
        if found is None:
            name, found = secrets.token_hex(4), await look()
        messages = [read(letter) for letter in found.letters[start : start + limit]]
        now, end = time.monotonic(), start + limit
        self._kept = {other: kept for other, kept in self._kept.items() if now - kept.at < KEPT}
        if end >= len(found.letters):
            return Page(messages, None, found.complete)
        self._kept[name] = found
        return Page(messages, f"{name}.{end}", found.complete)
