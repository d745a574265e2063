"""`waybill dlq triage | assign | reopen | resolve`: what people find out about dead letters. No broker is asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from waybill.cli import options
from waybill.cli.choosing import By, Filter, Place, action, known_place, picked, resolved
from waybill.cli.letters import NONE, not_empty
from waybill.cli.operating import SHORT
from waybill.cli.spread import spread
from waybill.errors import ConfigurationError, WaybillError

if TYPE_CHECKING:
    from waybill.dlq.index import Index
    from waybill.dlq.model import Letter, State

__all__ = ["assign", "reopen", "resolve", "triage"]

Everything: TypeAlias = Annotated[bool, typer.Option("--all", help="All that there are, where nothing else chooses.")]
Ticket: TypeAlias = Annotated[str | None, typer.Option("--ticket", metavar="TICKET", help="Where it is worked on.")]
Note: TypeAlias = Annotated[
    str | None, typer.Option("--note", metavar="TEXT", help="The cause, as far as it is known.")
]
NewOwner: TypeAlias = Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Who takes care of it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Letters of the index, by their ids or by what they have in common."""

    which: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", callback=not_empty, help="Messages' ids, or their beginnings."),
    ] = None
    everything: Everything = False


@spread
def triage(
    *,
    one: Chosen,
    place: Place,
    chosen: Filter,
    owner: NewOwner = None,
    ticket: Ticket = None,
    note: Note = None,
    by: By = None,
    as_json: options.Json = False,
) -> None:
    """Write down who takes care of dead letters, what they died of, and where that is worked on."""
    if owner is None and ticket is None and note is None:
        raise ConfigurationError("say what was found out: --owner, --ticket, --note")
    _review(place, _filter(one, chosen), "triaged", by, as_json=as_json, owner=owner, ticket=ticket, note=note)


@spread
def assign(
    *,
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="Who takes care of them.")],
    one: Chosen,
    place: Place,
    chosen: Filter,
    by: By = None,
    as_json: options.Json = False,
) -> None:
    """Give dead letters to somebody who takes care of them: `triage` with an owner and nothing else."""
    if not owner.strip():
        raise ConfigurationError("name the owner; `waybill dlq reopen` takes letters away from theirs")
    _review(place, _filter(one, chosen), "triaged", by, as_json=as_json, owner=owner)


@spread
def reopen(
    *,
    one: Chosen,
    place: Place,
    chosen: Filter,
    note: Note = None,
    by: By = None,
    as_json: options.Json = False,
) -> None:
    """Have dead letters looked at anew: they are unresolved, and nobody's, also those that somebody took for done with.

    Those that the broker has no more stay as they are, since nothing can be done about them, and so does what an operation is
    busy with.
    """
    _review(place, _filter(one, chosen), "unresolved", by, as_json=as_json, owner="", note=note)


@spread
def resolve(
    *,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What was done, for those who ask.")],
    one: Chosen,
    place: Place,
    chosen: Filter,
    by: By = None,
    as_json: options.Json = False,
) -> None:
    """Say that dead letters which the broker has no more were dealt with in another way.

    One that is found among the broker's once more is unresolved again: `redrive` or `discard` it.
    """
    if not note.strip():
        raise ConfigurationError("--note: say what was done about them")
    _review(place, _filter(one, chosen), "resolved", by, as_json=as_json, note=note)


def _filter(one: Chosen, chosen: Filter) -> Filter:
    chosen = replace(chosen, ids=[*(one.which or []), *(chosen.ids or [])] or None)
    if not chosen.chooses and not one.everything:
        raise ConfigurationError("say which: an ID, --fingerprint, another option that chooses, or --all")
    return chosen


def _review(
    place: Place,
    chosen: Filter,
    to: str,
    by: str | None,
    *,
    as_json: bool,
    note: str | None = None,
    **found: str | None,
) -> None:
    from waybill.cli.screen import document, line, safe, tell  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.dlq.model import State  # noqa: PLC0415

    state = State(to)
    with place.index() as index:
        query = chosen.query(_from(state))
        known_place(place, index, query.topic, query.group)
        query = resolved(index, query)
        done: Counter[tuple[str, str]] = Counter()
        rest = dict.fromkeys(query.ids)
        act, left = action(by, note), 0
        for letters in picked(index, query):
            keys = [letter.key for letter in letters if _is_news(letter, state)]
            now = datetime.now(UTC)
            moved = index.review(keys, state, act, note=note, now=now, **found)
            done.update(key[:2] for key in moved)
            left += len(keys) - len(moved)
            for key in moved:
                rest.pop(key.id, None)
        gone = f"{left} left as they were: the broker had them no more at the last look (`waybill dlq collect`)"
        none = f"no dead letter that can be {to} has such an id: `waybill dlq list` shows them"
        kept = left if state is State.UNRESOLVED else 0
        told = [f"{id_}: left as it was, {_why(index, id_)}" for id_ in rest]
        if chosen.ids and not done:
            raise WaybillError("; ".join([gone if kept else none, *told]))
        for words in told or ([gone] if kept else ()):
            tell(words)
    if as_json:
        document([{"topic": topic, "group": group, to: count} for (topic, group), count in done.items()])
    elif not done:
        line(NONE)
    else:
        for (topic, group), count in done.items():
            line(safe(f"{topic}/{group}: {count} {to}"))
    if rest:
        raise typer.Exit(1)


def _from(to: State) -> frozenset[State]:
    """Those in a state that it may follow, but for what an operation is busy with; resolved by hand is only what is gone."""
    from waybill.dlq.model import NEXT, OPEN, OWNED, State  # noqa: PLC0415 - `waybill --help` need not load it

    never = OPEN if to is State.RESOLVED else OWNED
    return frozenset(state for state in State if to in NEXT[state] and state not in never)


def _is_news(letter: Letter, to: State) -> bool:
    """Not for one that is unresolved and nobody's already."""
    from waybill.dlq.model import State  # noqa: PLC0415 - `waybill --help` need not load it

    return to is not State.UNRESOLVED or letter.state is not to or bool(letter.owner)


def _why(index: Index, id_: str) -> str:
    """What stands against it that somebody reviews the letters of that id."""
    from waybill.dlq.model import OWNED  # noqa: PLC0415 - `waybill --help` need not load it

    told: list[str] = []
    for letter in index.find(id_):
        held = f" by operation {letter.operation[:SHORT]}" if letter.state in OWNED else ""
        gone = ", and the broker had it no more at the last look" if letter.gone and not held else ""
        told.append(f"it is {letter.state}{held}{gone}")
    return "; ".join(dict.fromkeys(told))
