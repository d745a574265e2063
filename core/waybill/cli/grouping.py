"""`waybill dlq groups`: dead letters that failed alike, a line for each kind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from waybill.cli import options
from waybill.cli.choosing import Filter, Live, Place, States, known_place, states_of
from waybill.cli.letters import Letter, Wanted, select
from waybill.cli.spread import spread
from waybill.errors import ConfigurationError
from waybill.letters import pages
from waybill.redaction import redact, secrets_of

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.dlq.model import Group, Query

__all__ = ["groups"]

COLUMNS = (
    "fingerprint", "topic/group", "open", "oldest", "newest", "reason", "disposition", "owner", "error", "where", "detail",
)  # fmt: skip
NUMBERS = ("open", "oldest", "newest")
ABOVE = 6
"""Columns that stay in one line on a narrow terminal."""


@spread
def groups(
    *,
    place: Place,
    chosen: Filter,
    state: States = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 50,
    live: Live = False,
    as_json: options.Json = False,
) -> None:
    """Show the kinds of dead letters: what failed with the same error, at the same place of the code, is one.

    Those with the most letters come first.
    """
    from waybill.cli.screen import document, tell  # noqa: PLC0415 - `waybill --help` need not load it

    if chosen.ids or chosen.older_than or chosen.newer_than:
        raise ConfigurationError("groups are of all ages: leave --id, --older-than and --newer-than to `dlq list`")
    indexed = not live and place.has_index()
    if not indexed:
        if state:
            raise ConfigurationError("--state asks the index, which `waybill dlq collect` makes")
        found, more = asyncio.run(_live(place.open(), chosen.wanted())), False
        found, more = found[:limit], len(found) > limit
    else:
        found, more = _indexed(place, chosen.query(states_of(state)), limit)
    now = datetime.now(UTC)
    if as_json:
        document([_object(kind, now) for kind in found])
    else:
        _table(found, now)
    if indexed and not found:
        place.tell_none()
    if more:
        tell(f"the largest {limit}: --limit shows more")


def _indexed(place: Place, query: Query, limit: int) -> tuple[list[Group], bool]:
    found: list[Group] = []
    after: str | None = None
    with place.index() as index:
        known_place(place, index, query.topic, query.group)
        while len(found) < limit:
            page = index.groups(query, after=after, limit=min(500, limit - len(found)))
            found += page.groups
            after = page.after
            if after is None:
                return found, False
    return found, True


async def _live(app: App, wanted: Wanted) -> list[Group]:
    """Read all letters, and keep one of each kind."""
    newest: dict[tuple[str, str, str], Letter] = {}
    oldest: dict[tuple[str, str, str], datetime] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    async with app.admin() as admin:
        for subscription in await select(app, admin, wanted):
            async with aclosing(pages(admin, subscription)) as shown:
                async for page in shown:
                    for message in page.messages:
                        letter = Letter.of(subscription, message)
                        if not wanted.takes(letter):
                            continue
                        kind = subscription.topic.name, subscription.group, letter.record.fingerprint
                        counts[kind] += 1
                        oldest[kind] = min(letter.record.at, oldest.get(kind, letter.record.at))
                        if kind not in newest or letter.record.at >= newest[kind].record.at:
                            newest[kind] = letter
    return [_group(newest[kind], count, oldest[kind]) for kind, count in counts.most_common()]


def _group(letter: Letter, count: int, oldest: datetime) -> Group:
    from waybill.dlq.model import Group, State  # noqa: PLC0415 - `waybill --help` need not load it

    record = letter.record
    return Group(
        topic=letter.subscription.topic.name,
        group=letter.subscription.group,
        fingerprint=record.fingerprint,
        type=letter.message.type,
        reason=record.reason,
        disposition=record.disposition,
        error=record.error,
        frame=record.frame,
        detail=redact(record.detail, secrets_of(letter.message)),
        counts={State.UNRESOLVED: count},
        oldest=oldest,
        newest=record.at,
    )


def _table(found: Sequence[Group], now: datetime) -> None:
    from waybill.cli.screen import age, table  # noqa: PLC0415 - `waybill --help` need not load it

    def ago(at: datetime | None) -> str:
        return "-" if at is None else age((now - at).total_seconds())

    rows = [
        [
            kind.fingerprint or "-",
            f"{kind.topic}/{kind.group}",
            str(kind.open),
            ago(kind.oldest),
            ago(kind.newest),
            kind.reason,
            kind.disposition or "-",
            ", ".join(kind.owners) or "-",
            (kind.error or "-").rpartition(".")[2],
            kind.frame or "-",
            redact(kind.detail),
        ]
        for kind in found
    ]
    table(COLUMNS, rows, numbers=NUMBERS, beneath=COLUMNS[ABOVE:])


def _object(kind: Group, now: datetime) -> dict[str, Any]:
    oldest = None if kind.oldest is None else round((now - kind.oldest).total_seconds(), 3)
    return {
        **msgspec.to_builtins(kind, str_keys=True),
        "detail": redact(kind.detail),
        "open": kind.open,
        "oldest_seconds": oldest,
    }
