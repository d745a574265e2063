"""`waybill dlq list | show`: look at dead letters. Nothing is taken or changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from waybill.cli import options
from waybill.cli.choosing import Filter, Live, Owner, Place, States, Words, known_place, states_of
from waybill.cli.letters import Letter as Seen
from waybill.cli.letters import Wanted, collect, meant
from waybill.cli.showing import Whole, in_words, show_whole, summary
from waybill.cli.spread import spread
from waybill.errors import ConfigurationError, WaybillError
from waybill.redaction import redact, secrets_of

if TYPE_CHECKING:
    from waybill.dlq.model import Letter, Query

__all__ = ["list_", "show"]

SHORT = 8
"""Characters of an id on a terminal, if they are enough to tell them apart: `show` finds it by its beginning."""
MOST = 10_001
"""Letters that are counted: to count a million takes longer than anybody waits for a list."""
COLUMNS = ("id", "topic/group", "reason", "attempts", "age", "state", "error", "detail")
NUMBERS = ("attempts", "age")


@dataclass(frozen=True, slots=True)
class Listed:
    """The newest letters, oldest first, of `total`. `complete`: the broker could show all of them."""

    letters: list[Letter]
    total: int
    complete: bool = True


@spread
def list_(
    *,
    place: Place,
    chosen: Filter,
    state: States = None,
    owner: Owner = None,
    text: Words = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the newest.")] = 50,
    live: Live = False,
    as_json: options.Json = False,
) -> None:
    """List dead letters, the newest last: from the index where there is one, else from the broker."""
    from waybill.cli.screen import document, tell  # noqa: PLC0415 - `waybill --help` need not load it

    indexed = not live and place.has_index()
    if not indexed and (state or owner is not None or text):
        raise ConfigurationError("--state, --owner and --text ask the index, which `waybill dlq collect` makes")
    if indexed:
        found = _indexed(place, chosen.query(states_of(state), owner=owner, text=text), limit)
    else:
        found = _live(place, chosen.wanted(), limit)
    now = datetime.now(UTC)
    if as_json:
        document([summary(letter, now, indexed=indexed) for letter in found.letters])
    else:
        _table(found.letters, now, indexed=indexed)
    if indexed and not found.total:
        place.tell_none()
    if found.total > len(found.letters):
        total = f"more than {MOST - 1}" if indexed and found.total == MOST else found.total
        tell(f"the newest {len(found.letters)} of {total}: --limit shows more")
    if not found.complete:
        tell("the broker could not show all of them now: others hold some")


def _indexed(place: Place, query: Query, limit: int) -> Listed:
    with place.index() as index:
        known_place(place, index, query.topic, query.group)
        letters: list[Letter] = []
        after: str | None = None
        while len(letters) < limit:
            page = index.page(query, after=after, limit=min(1000, limit - len(letters)))
            letters += page.letters
            after = page.after
            if after is None:
                return Listed(letters[::-1], len(letters))
        return Listed(letters[::-1], index.count(query, most=MOST))


def _live(place: Place, wanted: Wanted, limit: int) -> Listed:
    found = asyncio.run(collect(place.open(), wanted, limit))
    return Listed([_unreviewed(seen) for seen in found.letters], found.total, found.complete)


def _unreviewed(seen: Seen) -> Letter:
    from waybill.dlq.model import Key, Letter, State  # noqa: PLC0415 - `waybill --help` need not load it

    return Letter(
        number=0,
        key=Key(seen.subscription.topic.name, seen.subscription.group, seen.message.id),
        state=State.UNRESOLVED,
        type=seen.message.type,
        message_key=seen.message.key,
        record=msgspec.structs.replace(seen.record, detail=redact(seen.record.detail, secrets_of(seen.message))),
        fingerprint=seen.record.fingerprint,
        redrives=seen.message.redrives,
        expires=seen.message.expires,
        changed=seen.record.at,
    )


def _table(letters: Sequence[Letter], now: datetime, *, indexed: bool) -> None:
    from waybill.cli.screen import age, table  # noqa: PLC0415 - `waybill --help` need not load it

    length = _told_apart([letter.key.id for letter in letters]) if sys.stdout.isatty() else None
    rows = [
        [
            letter.key.id[:length],
            f"{letter.key.topic}/{letter.key.group}",
            letter.record.reason,
            str(letter.record.attempts),
            age((now - letter.record.at).total_seconds()),
            *([in_words(letter)] if indexed else []),
            (letter.record.error or "-").rpartition(".")[2],
            redact(letter.record.detail),
        ]
        for letter in letters
    ]
    columns = [name for name in COLUMNS if indexed or name != "state"]
    table(columns, rows, numbers=NUMBERS, beneath=columns[5:])


def _told_apart(ids: Sequence[str]) -> int:
    """How many characters of the ids tell one from another; `SHORT` at least, and all where they do not differ."""
    different = set(ids)
    longest = max(map(len, different), default=SHORT)
    return next((n for n in range(SHORT, longest) if len({id_[:n] for id_ in different}) == len(different)), longest)


@spread
def show(
    *,
    id_: options.Id,
    place: Place,
    topic: options.TopicName = None,
    group: options.Group = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the body to stdout, byte for byte.")] = False,
    live: Live = False,
    as_json: options.Json = False,
) -> None:
    """Show one dead letter whole: attributes, headers, the record with its stack, the body, and how far its review is."""
    from waybill.cli.screen import document  # noqa: PLC0415 - `waybill --help` need not load it

    if raw and as_json:
        raise ConfigurationError("--raw writes bytes, --json a document: choose one")
    found = the_one(place, id_, topic, group, live=live)
    if raw:
        _write_raw(found)
    elif as_json:
        now = datetime.now(UTC)
        document([whole.as_object(now) for whole in found])
    else:
        for whole in found:
            show_whole(whole)


def the_one(place: Place, beginning: str, topic: str | None, group: str | None, *, live: bool = False) -> list[Whole]:
    """The dead letter with that id, in each group where it lies: as the index knows it, else as the broker has it.

    Raises `WaybillError` where no id begins like that, `ConfigurationError` where several do.
    """
    marked = place.marked()
    found = [] if live or not place.has_index() else _of_index(place, beginning, marked)
    found = [whole for whole in found if topic in {None, whole.topic} and group in {None, whole.group}]
    if not found:
        wanted = Wanted(topic=topic, group=group, ids=(beginning,))
        seen = asyncio.run(collect(place.open(), wanted, limit=20)).letters
        found = [Whole(_unreviewed(letter), letter.message, marked=marked) for letter in seen]
    found = [whole for whole in found if whole.message.id == beginning] or found  # a whole id is that id
    if not found:
        raise WaybillError(f"no dead letter has an id that begins with {beginning!r}: `waybill dlq list` shows them")
    meant("id", beginning, {whole.message.id for whole in found})
    return found


def _of_index(place: Place, beginning: str, marked: tuple[str, ...]) -> list[Whole]:
    with place.index() as index:
        return [
            Whole(letter, message, tuple(index.audit(key=letter.key)), indexed=True, marked=marked)
            for letter in index.find(beginning)
            if (message := index.message(letter.key)) is not None
        ]


def _write_raw(found: Sequence[Whole]) -> None:
    if len({whole.message.body for whole in found}) > 1:
        places = ", ".join(f"{whole.topic}/{whole.group}" for whole in found)
        raise ConfigurationError(f"that id lies in {places}, with different bodies: choose with --topic and --group")
    sys.stdout.buffer.write(found[-1].message.body or b"")
    sys.stdout.buffer.flush()
