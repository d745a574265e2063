"""Ending by hand the wait for what became of letters that were sent: where no consumer tells, and the broker cannot."""

from __future__ import annotations

import time

import msgspec

from waybill.dlq.operation import Operation
from waybill.dlq.operations import Operations
from waybill.errors import ConfigurationError

__all__ = ["judge", "settle"]


def judge(operations: Operations, operation: Operation, place: tuple[str, str], *, since: float) -> None:
    """Find those, pending since then or for longer, that are dead letters of that topic and group again, as the index knows."""
    while returned := operations.returned(operation, place, since=since):
        for alike in (True, False):
            idents = [ident for ident, as_before in returned if as_before is alike]
            operations.mark(operation, idents, "came_back", alike=alike)


def settle(operations: Operations, operation: Operation, *, by: str, why: str) -> Operation:
    """Take for handled what the operation has sent and nobody has told of, and end it where it was pending.

    What the index knows to be a dead letter again counts as come back; one that is found later is unresolved again.
    Raises `ConfigurationError` without a reason, and for an operation that has something to send still.
    """
    if not why.strip():
        raise ConfigurationError("why: say why what was sent counts as handled")
    operation = operations.get(operation.id)
    if operation.under_way:
        raise ConfigurationError(
            f"operation {operation.id} is {operation.state}: let it send the rest (`waybill dlq redrive --resume`), or cancel it"
        )
    now = time.time()
    operations.heed(operation)
    topic, _, group = (operation.to or operation.name).partition("/")
    if group:
        judge(operations, operation, (topic, group), since=now)
    told = msgspec.structs.replace(operation, by=by, why=why)
    operations.note(told, "settle")
    while moves := operations.at(operation, "pending", since=now):
        operations.mark(told, [move.id for move in moves], "resolved")
    return operations.advance(operation, "done") if operation.state == "pending" else operation
