"""`waybill dlq operations | cancel | settle`: what is being done with dead letters, how far it is, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from waybill.cli import options
from waybill.cli.choosing import By, Place, Why, by_whom
from waybill.cli.operating import SHORT, in_words, note_of, operation_object
from waybill.cli.spread import spread

if TYPE_CHECKING:
    from waybill.dlq.operation import Operation, Progress

__all__ = ["cancel", "operations", "settle", "show_operations"]

COLUMNS = ("operation", "verb", "topic/group", "state", "letters", "age", "by", "so far", "why", "note")
NUMBERS = ("letters", "age")
ABOVE = 7


@spread
def operations(
    *,
    place: Place,
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="One, by its id or the beginning of it.")] = None,
    ended: Annotated[bool, typer.Option("--ended", help="Also those that have ended.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the newest.")] = 50,
    as_json: options.Json = False,
) -> None:
    """Show what is being done with dead letters and how far it is, the newest first.

    What has become of letters that were sent is found out by `dlq collect`.
    """
    show_operations(place, id_, ended=ended, limit=limit, as_json=as_json)


def show_operations(
    place: Place, beginning: str | None, *, ended: bool = False, limit: int = 50, as_json: bool
) -> None:
    """One operation, or those that go on."""
    from waybill.cli.screen import document  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.dlq.operations import Operations  # noqa: PLC0415

    with place.index() as index:
        kept = Operations(index)
        chosen = kept.all(ended=ended, limit=limit) if beginning is None else [kept.get(beginning)]
        found = [(operation, kept.progress(operation)) for operation in chosen]
    if as_json:
        document([operation_object(operation, progress) for operation, progress in found])
    else:
        _table(found)


def _table(found: Sequence[tuple[Operation, Progress]]) -> None:
    from waybill.cli.screen import age, table  # noqa: PLC0415 - `waybill --help` need not load it

    now = datetime.now(UTC)
    rows = [
        [
            operation.id[:SHORT],
            operation.verb,
            operation.name,
            operation.state,
            str(progress.total),
            age((now - operation.at).total_seconds()),
            operation.by,
            in_words(progress, operation.verb),
            operation.why,
            note_of(operation),
        ]
        for operation, progress in found
    ]
    table(COLUMNS, rows, numbers=NUMBERS, beneath=COLUMNS[ABOVE:])


@spread
def cancel(
    *,
    id_: Annotated[str, typer.Argument(metavar="ID", help="The operation's id, or its beginning.")],
    place: Place,
    why: Why = None,
    by: By = None,
    as_json: options.Json = False,
) -> None:
    """End an operation: what it has not sent stays among the dead letters, and what it has sent is not called back."""
    from waybill.cli.screen import tell  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.dlq.operations import Operations  # noqa: PLC0415 - `waybill --help` need not load it

    with place.index() as index:
        kept = Operations(index)
        operation = kept.cancel(kept.get(id_), by=by_whom(by), why=why or "")
        progress = kept.progress(operation)
    _tell(operation, progress, as_json=as_json)
    if operation.asked_to_end:
        tell("asked to end: if `waybill dlq operations` still shows it in a minute, cancel it again")
    if progress.pending:
        tell("what it has sent waits to be told of by its group: waybill dlq collect looks, waybill dlq settle ends it")


@spread
def settle(
    *,
    id_: Annotated[str, typer.Argument(metavar="ID", help="The operation's id, or its beginning.")],
    place: Place,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="How it is known, for the audit.")],
    by: By = None,
    as_json: options.Json = False,
) -> None:
    """Take what an operation has sent, and nobody has told of, for handled: where consumers do not name the index.

    What is a dead letter again counts as come back, also when it is found later.
    """
    from waybill.dlq.operations import Operations  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.dlq.settling import settle as do  # noqa: PLC0415

    with place.index() as index:
        kept = Operations(index)
        operation = do(kept, kept.get(id_), by=by_whom(by), why=why)
        progress = kept.progress(operation)
    _tell(operation, progress, as_json=as_json)


def _tell(operation: Operation, progress: Progress, *, as_json: bool) -> None:
    from waybill.cli.screen import document, line, safe  # noqa: PLC0415 - `waybill --help` need not load it

    if as_json:
        document([operation_object(operation, progress)])
    else:
        line(safe(f"operation {operation.id} is {operation.state}: {in_words(progress, operation.verb)}"))
