"""Operations on dead letters, carried out and gone on with, and what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import typer

from waybill.cli.bench import Bench, bench_of
from waybill.cli.choosing import Place
from waybill.cli.letters import NONE
from waybill.errors import WaybillError

if TYPE_CHECKING:
    from waybill.dlq.operation import Operation, Progress, Verb
    from waybill.dlq.running import Outcome

__all__ = ["Begin", "Carried", "in_words", "note_of", "operation_object"]

Begin: TypeAlias = Callable[[Bench], "AsyncGenerator[tuple[Operation, int | None], None]"]
"""Begins operations, or finds them, one after another: each with how many letters it is about, where that is known."""
SHORT = 8
"""Characters of an operation's id for people: it is found by its beginning."""
WORDS: dict[str, str] = {
    "discarded": "discarded", "resolved": "resolved", "pending": "not handled yet", "came_back": "came back",
    "left": "refused", "gone": "gone already", "freed": "given back", "claimed": "to be sent", "sending": "unknown",
    "sent": "not removed yet",
}  # fmt: skip
"""What may have become of letters, for people."""
OF_DISCARDS = {**WORDS, "claimed": "to be removed"}


class Carried:
    """What has become of each operation so far, also when it is interrupted or fails.

    `otherwise`: orders of this run that are not as the operation was begun.
    """

    def __init__(
        self,
        place: Place,
        *,
        past_canary: bool = False,
        otherwise: Mapping[str, float | None] = MappingProxyType({}),
    ) -> None:
        self._place = place
        self._past_canary = past_canary
        self._otherwise = otherwise
        self._results: dict[str, Outcome] = {}
        self._left = 0
        self._error: WaybillError | None = None
        self._interrupted = False

    def do(self, begin: Begin) -> None:
        """Carry out what `begin` begins, one after another. `tell` tells."""
        try:
            asyncio.run(self._do(begin))
        except KeyboardInterrupt:
            self._interrupted = True
        except WaybillError as error:
            self._error = error

    def leaves(self, count: int) -> None:
        """So many of those that were asked for are in none of the operations."""
        self._left += count

    async def _do(self, begin: Begin) -> None:
        async with bench_of(self._place) as bench, aclosing(begin(bench)) as begun:
            async for operation, total in begun:
                await self._carry(bench, operation, total)

    async def _carry(self, bench: Bench, operation: Operation, total: int | None) -> None:
        from waybill.cli.progress import bar  # noqa: PLC0415 - `waybill --help` need not load it
        from waybill.dlq.running import Outcome, run  # noqa: PLC0415

        subscription = await bench.subscription(operation)
        to = bench.destination(operation.to)
        waits = ""
        with bar(total, operation.name) as show:

            def note(progress: Progress, what: str) -> None:
                show(progress.moved, f"{operation.name}: {progress.moved} so far  {what}")

            try:
                outcome = await run(
                    bench.adapter(subscription.topic),
                    subscription,
                    bench.operations,
                    operation,
                    to=None if to is None else (bench.adapter(to.topic), to),
                    check=bench.check(subscription, to) if operation.verb == "redrive" else None,
                    brakes=bench.brakes(subscription) if operation.verb != "discard" else (),
                    on_progress=note,
                    past_canary=self._past_canary,
                    orders=msgspec.structs.replace(operation.orders, **self._otherwise),
                )
                waits = outcome.waits
            finally:  # it is told how far it is, also where it was cut short
                kept = bench.operations.get(operation.id)
                self._results[kept.id] = Outcome(operation=kept, progress=bench.operations.progress(kept), waits=waits)

    def tell(self, *, as_json: bool) -> None:
        """A line for each operation, or a document. Raises what it failed with, and leaves with 1 where some were not moved."""
        from waybill.cli.screen import document, line, safe, tell  # noqa: PLC0415 - `waybill --help` need not load it

        results = list(self._results.values())
        if as_json:
            document([{**operation_object(each.operation, each.progress), "waits": each.waits} for each in results])
        for each in results:
            operation = each.operation
            if not as_json:
                words = in_words(each.progress, operation.verb)
                line(safe(f"{operation.name}: {words} [operation {operation.id[:SHORT]}]"))
            if operation.under_way and (self._interrupted or self._error or each.waits):
                on = "goes on discarding" if operation.verb == "discard" else "goes on"
                tell(f"{each.waits or 'cut short'}: waybill dlq redrive --resume {operation.id} --yes {on}")
            elif operation.note:
                tell(operation.note)
        if self._error is not None:
            raise self._error
        if not results and not as_json and not self._interrupted:
            line("none of them was moved" if self._left else NONE)
        if self._interrupted or self._left or not all(each.whole for each in results):
            raise typer.Exit(1)


def in_words(progress: Progress, verb: Verb) -> str:
    """What has become of the letters: `12 redriven: 10 resolved, 2 came back`."""
    discards = verb == "discard"
    told = OF_DISCARDS if discards else WORDS
    parts = [f"{count} {words}" for name, words in told.items() if (count := getattr(progress, name))]
    cause = f" ({progress.cause})" if progress.cause else ""
    repeated = f"; {progress.repeated} may have come twice" if progress.repeated else ""
    begun = f"{progress.moved} redriven" if not discards else "" if progress.discarded else "0 discarded"
    return ": ".join(filter(None, (begun, ", ".join(parts)))) + cause + repeated


def note_of(operation: Operation) -> str:
    """Why it stands still, or has ended before its time, or is about to."""
    return f"asked to end: {operation.stop}" if operation.asked_to_end else operation.note


def operation_object(operation: Operation, progress: Progress) -> dict[str, Any]:
    """An operation and how far it is, for programs."""
    return {
        "operation": operation.id,
        "verb": operation.verb,
        "state": operation.state,
        "topic": operation.topic,
        "group": operation.group,
        "to": operation.to,
        "by": operation.by,
        "why": operation.why,
        "at": operation.at.isoformat(),
        "changed": operation.changed.isoformat(),
        "note": note_of(operation),
        **msgspec.structs.asdict(progress),
    }
