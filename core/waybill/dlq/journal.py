"""Each step of an operation's letters, written down while others are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from waybill.dlq.operation import Operation
from waybill.dlq.operations import Operations
from waybill.message import Delivery
from waybill.moving import Journal, Then, why
from waybill.outcomes import Confirmed, Refused, SendResult

__all__ = ["Written", "ids_of"]

SOON = 0.5
"""Seconds between two times that what was removed is written down, while more is sent: many at once take less."""


class Written(Journal):
    """Writes each step of an operation's letters down."""

    def __init__(self, operations: Operations, operation: Operation, runner: str, unsure: dict[str, str]) -> None:
        """unsure: gets those of which it is not known whether their copies are there, or which may be taken later, and why."""
        self._operations = operations
        self._operation = operation
        self._runner = runner
        self._unsure = unsure
        self._confirmed: set[str] = set()
        """Of those that are being removed."""
        self._removed: list[str] = []
        """Not written down yet: who finds the letters gone knows as much."""
        self._due = 0.0
        self._turn = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None

    async def sending(self, letters: Sequence[Delivery[Any]]) -> Sequence[Then]:
        """Those that were removed before are written down while these are sent, if it is time; before that if there is a second
        letter of one of their ids, which needs no copy then."""
        await self._written()
        if not set(ids_of(letters)).isdisjoint(self._removed):
            await self._write()
        then = await asyncio.to_thread(self._operations.stage, self._operation, ids_of(letters), self._runner)
        if (now := asyncio.get_running_loop().time()) >= self._due:
            self._due = now + SOON
            self._writing = asyncio.create_task(self._write(), name="waybill-dlq-writing")
        return [then.get(delivery.message.id, "leave") for delivery in letters]

    async def sent(self, letters: Sequence[Delivery[Any]], results: Sequence[SendResult]) -> None:
        """Not of those that are removed before it is their turn."""
        self._confirmed = set()
        refused: dict[str, str] = {}
        for delivery, result in zip(letters, results, strict=True):
            if isinstance(result, Confirmed):
                self._confirmed.add(delivery.message.id)
            elif isinstance(result, Refused) and not result.transient:
                refused[delivery.message.id] = why(result)
            else:
                self._unsure[delivery.message.id] = why(result)
        try:
            await self._written()
        finally:  # whatever became of those before
            for ident, cause in refused.items():
                await asyncio.to_thread(partial(self._operations.mark, cause=cause), self._operation, [ident], "left")
            if self._confirmed:
                await asyncio.to_thread(self._operations.mark, self._operation, list(self._confirmed), "sent")

    async def removed(self, letters: Sequence[Delivery[Any]]) -> None:
        """It is written down while others are sent, or when `catch_up` says so."""
        self._confirmed.difference_update(ids_of(letters))
        self._removed += ids_of(letters)

    async def catch_up(self) -> None:
        """Whoever looks at the operation now, or ends it, is to find all that is removed."""
        try:
            await self._written()
        finally:
            await self._write()

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _write(self) -> None:
        async with self._turn:
            if ids := self._removed.copy():
                await asyncio.to_thread(self._operations.mark, self._operation, ids, "pending")
                del self._removed[: len(ids)]

    async def held_back(self, letters: Sequence[Delivery[Any]]) -> None:
        await self._written()
        if not set(ids_of(letters)).isdisjoint(self._removed):  # the copy of a first letter of that id has gone
            await self._write()
        mark = partial(self._operations.mark, cause="it must not pass one of its key that was refused")
        await asyncio.to_thread(mark, self._operation, ids_of(letters), "left")


def ids_of(letters: Sequence[Delivery[Any]]) -> list[str]:
    return [delivery.message.id for delivery in letters]
