"""Wrong adapters for PostgreSQL, each sound but for one thing, and the promises that must notice it on the real server.

python -m tests.contract.mutating postgres runs them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tests.contract.installing import installed
from tests.contract.mutant import Mutant, Mutants
from tests.contract.postgres import PROJECT
from waybill.message import Message
from waybill.outcomes import DeadLetter, Refused, Unknown

installed(PROJECT)

import waybill_postgres  # noqa: E402
from waybill_postgres import admin, held, sink, source  # noqa: E402
from waybill_postgres.sink import TableSink  # noqa: E402

__all__ = ["MUTANTS"]

MUTANTS = Mutants()
instead_of = MUTANTS.instead_of


def statement(name: str, module: Any, what: str, wrong: Any, *killed_by: str) -> None:
    """A mutant that says something else to the server."""
    MUTANTS[name] = Mutant(module, what, wrong, killed_by)


def changed(sql: str, part: str, wrong: str) -> str:
    assert part in sql, part
    return sql.replace(part, wrong)


statement("HandsOutLaterOnesOfAKey", source, "TAKE_FIRST", source.TAKE_ANY, "O02", "O04")
statement("NeverMindsWhoDied", source, "TAKE_ANY", changed(source.TAKE_ANY, f"lost = {source.LOST}", "lost = 0"), "D12")
statement("ReachesOneGroup", sink, "PLACE", changed(sink.PLACE, "OR name = $2)", "OR name = $2 LIMIT 1)"), "G02")
statement(
    "LosesTheBodiesOfTheDead",
    held,
    "SETTLE",
    held.SETTLE | {DeadLetter: changed(held.SETTLE[DeadLetter], "dead = true", "dead = true, body = NULL")},
    "D01",
)


statement(
    "CountsEveryGroups", admin, "COUNT", changed(admin.COUNT, "WHERE NOT dead AND due <= now()", "WHERE true"), "V04"
)


@instead_of(waybill_postgres, "TableSink", "S08")
class BelievesThePublishersClock(TableSink):
    """What is delayed waits until the server's clock is as late as the publisher says."""

    def _delay(self, message: Message) -> timedelta:
        due = 0.0 if message.due is None else message.due.timestamp() - self._right()
        return timedelta(seconds=max(0.0, due))

    def _right(self) -> float:
        return time.clock_gettime(time.CLOCK_REALTIME)


@instead_of(waybill_postgres, "TableSink", "fault-02")
class ConfirmsWhatIsUnknown(TableSink):
    """A connection that broke counts as a yes."""

    async def _place(self, rows: Sequence[Any], deadline: float) -> Refused | Unknown | None:
        outcome = await super()._place(rows, deadline)
        return None if isinstance(outcome, Unknown) else outcome
