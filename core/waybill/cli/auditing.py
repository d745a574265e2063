"""`waybill dlq audit`: who did what with dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from waybill.cli import options
from waybill.cli.choosing import Place
from waybill.cli.letters import meant, not_empty
from waybill.cli.showing import entry_object
from waybill.cli.spread import spread
from waybill.errors import WaybillError

if TYPE_CHECKING:
    from waybill.dlq.index import Index
    from waybill.dlq.model import Entry, Key

__all__ = ["audit"]

COLUMNS = ("at", "by", "verb", "letters", "topic/group", "id", "became", "operation", "why")
NUMBERS = ("letters",)
ABOVE = 5
PAGE = 500


@spread
def audit(
    *,
    place: Place,
    id_: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", callback=not_empty, help="Of this message, or its beginning."),
    ] = None,
    operation: Annotated[
        str | None, typer.Option("--operation", metavar="ID", help="Of this operation, or its beginning.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the newest.")] = 100,
    as_json: options.Json = False,
) -> None:
    """Show who did what with dead letters, when and why, the newest last. These lines are never changed."""
    from waybill.cli.screen import document  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.dlq.operations import Operations  # noqa: PLC0415

    with place.index() as index:
        whole = None if operation is None else Operations(index).get(operation).id
        if id_ is None:
            entries = _read(index, None, whole, limit)
        else:
            entries = sorted(
                (entry for key in _keys(index, id_) for entry in _read(index, key, whole, limit)),
                key=lambda entry: -entry.number,
            )[:limit]
    if as_json:
        document([entry_object(entry) for entry in reversed(entries)])
    else:
        _table(entries[::-1])


def _keys(index: Index, beginning: str) -> list[Key]:
    """Of the letters with that id; the audit knows it for longer than the index has the letter."""
    known = dict.fromkeys([*(letter.key for letter in index.find(beginning)), *index.audited(beginning)])
    one = meant("id", beginning, {key.id for key in known})
    if one is None:
        raise WaybillError(f"nothing is known of an id that begins with {beginning!r}: `waybill dlq list` shows them")
    return [key for key in known if key.id == one]


def _read(index: Index, key: Key | None, operation: str | None, limit: int) -> list[Entry]:
    entries: list[Entry] = []
    after: int | None = None
    while len(entries) < limit:
        page = index.audit(key=key, operation=operation, after=after, limit=min(PAGE, limit - len(entries)))
        entries += page
        if not page:
            break
        after = page[-1].number
    return entries


def _table(entries: Sequence[Entry]) -> None:
    from waybill.cli.screen import table  # noqa: PLC0415 - `waybill --help` need not load it

    rows = [
        [
            entry.at.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00"),
            entry.by,
            entry.verb,
            str(entry.count),
            "/".join(filter(None, (entry.topic, entry.group))) or "-",
            entry.id or "-",
            f"{entry.before} → {entry.after}" if entry.after else "-",
            entry.operation or "-",
            entry.why or "-",
        ]
        for entry in entries
    ]
    table(COLUMNS, rows, numbers=NUMBERS, beneath=COLUMNS[ABOVE:])
