"""Which application, which of its dead letters, and who asks: options that the verbs of `waybill dlq` share."""

from __future__ import annotations

import getpass
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
import typer

from waybill.cli import options
from waybill.cli.application import choose_app, settings_of
from waybill.cli.letters import Wanted, meant
from waybill.errors import ConfigurationError, WaybillError
from waybill.topology import matches

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.dlq.index import Index
    from waybill.dlq.model import Action, Key, Letter, Query, State
    from waybill.dlq.policy import Policy
    from waybill.settings import Settings

__all__ = [
    "By", "Filter", "Live", "Owner", "Place", "States", "Why", "Words", "action", "by_whom", "known_id", "known_place",
    "picked", "resolved", "states_of",
]  # fmt: skip

ANY = "any"
PAGE = 1000
"""Letters that are reviewed in one transaction."""
By: TypeAlias = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who does it, for the audit; else who is logged in.")
]
Why: TypeAlias = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="Why, for the audit.")]
States: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="STATE", help="Only in this state of review; any for all. May be repeated. Else: open ones."
    ),
]
Owner: TypeAlias = Annotated[
    str | None, typer.Option("--owner", metavar="NAME", help="Only this owner's; none for nobody's.")
]
Live: TypeAlias = Annotated[bool, typer.Option("--live", help="Ask the broker, even where there is an index.")]
Words: TypeAlias = Annotated[
    str | None, typer.Option("--text", metavar="WORDS", help="Only with all of these words in it; a word* may go on.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The application and its broker, and the file of the index."""

    app: options.App = None
    url: options.Url = None
    dev: options.Dev = False

    def open(self) -> App:
        return choose_app(self.app, url=self.url, dev=self.dev)

    def settings(self) -> Settings:
        """The application's, or this process's where no application is named."""
        return settings_of(self.app, url=self.url, dev=self.dev)

    def marked(self) -> tuple[str, ...]:
        """Headers and fields whose values are shown nowhere, beside those that look secret."""
        return self.settings().redact

    def path(self) -> Path:
        """Of the index, be it there or not."""
        from waybill.dlq.index import DEFAULT  # noqa: PLC0415 - `waybill --help` need not load it

        return Path(self.settings().dlq or DEFAULT)

    def has_index(self) -> bool:
        return self.path().exists()

    def check_audit(self, *given: str | None) -> None:
        """Raises `ConfigurationError` where something is given for the audit and there is none."""
        if any(given) and not self.has_index():
            raise ConfigurationError(
                "--by and --why are for the audit, which is a part of the index: `waybill dlq collect` makes it"
            )

    def tell_none(self) -> None:
        """What an index has nothing of may still lie with the brokers."""
        from waybill.cli.screen import tell  # noqa: PLC0415 - `waybill --help` need not load it

        tell("the index has none like that: `waybill dlq collect` brings what has died since, --live asks the broker")

    def groups(self) -> list[tuple[str, str]]:
        """Topic and group of what the application consumes, where one is named."""
        if not (self.app or self.settings().app):
            return []
        return [(each.topic.name, each.group) for each in self.open().topology.subscriptions]

    def policy(self) -> Policy:
        """The rule book, where the settings name one, else the rules that are for all. Raises `ConfigurationError`."""
        from waybill.dlq.policy import Policy  # noqa: PLC0415 - `waybill --help` need not load it

        path = self.settings().dlq_policy
        return Policy() if path is None else Policy.read(path)

    @contextmanager
    def index(self, *, create: bool = False) -> Generator[Index, None, None]:
        """Raises `ConfigurationError` where there is none."""
        from waybill.dlq.index import Index  # noqa: PLC0415 - `waybill --help` need not load it

        with Index.open(self.path(), create=create) as index:
            yield index


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which dead letters, wherever they are looked for."""

    topic: options.TopicName = None
    group: options.Group = None
    reason: options.Reason = None
    type_: options.MessageType = None
    fingerprint: options.Fingerprint = None
    ids: options.Ids = None
    older_than: options.OlderThan = None
    newer_than: options.NewerThan = None

    def wanted(self) -> Wanted:
        """Raises `ConfigurationError` for an age that is none."""
        return Wanted(
            topic=self.topic,
            group=self.group,
            reason=self.reason,
            type=self.type_,
            fingerprint=self.fingerprint,
            ids=tuple(self.ids) if self.ids else None,
        ).aged(older_than=self.older_than, newer_than=self.newer_than)

    def query(self, states: frozenset[State], *, owner: str | None = None, text: str | None = None) -> Query:
        """Of the index."""
        from waybill.dlq.model import Query  # noqa: PLC0415 - `waybill --help` need not load it

        wanted = self.wanted()
        return Query(
            topic=wanted.topic,
            group=wanted.group,
            states=states,
            reason=wanted.reason,
            fingerprint=wanted.fingerprint,
            type=wanted.type,
            owner="" if owner == "none" else owner,
            ids=wanted.ids or (),
            since=wanted.since,
            before=wanted.before,
            text=text or "",
        )

    @property
    def chooses(self) -> bool:
        """Whether it leaves out any."""
        return self != Filter()


def states_of(given: list[str] | None) -> frozenset[State]:
    """Those named, else those that somebody has to do something about; empty for all. Raises `ConfigurationError`."""
    from waybill.dlq.model import OPEN, State  # noqa: PLC0415 - `waybill --help` need not load it

    if given is None:
        return OPEN
    if ANY in given:
        return frozenset()
    for name in given:
        if name not in set(State):
            raise ConfigurationError(f"--state {name}: there is no such state. States are: {', '.join(State)}, {ANY}")
    return frozenset(map(State, given))


def action(by: str | None, why: str | None = None) -> Action:
    """Who does something, and why."""
    from waybill.dlq.model import Action  # noqa: PLC0415 - `waybill --help` need not load it

    return Action(by=by_whom(by), why=why or "")


def by_whom(given: str | None) -> str:
    if given and given.strip():
        return given.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}"  # a container may have no name for its user


def picked(index: Index, query: Query) -> Generator[Sequence[Letter], None, None]:
    """The letters of the index that are like that, the oldest first, some at a time."""
    after: str | None = None
    while True:
        page = index.page(query, after=after, limit=PAGE, oldest_first=True)
        yield page.letters
        after = page.after
        if after is None:
            return


def known_place(place: Place, index: Index, topic: str | None, group: str | None) -> None:
    """Raises `ConfigurationError` for a topic and group of which nobody has heard: they are misspelt."""
    if topic is None and group is None:
        return
    known = {*index.tally(), *place.groups()}
    if not any((topic is None or matches(pair[0], topic)) and group in {None, pair[1]} for pair in known):
        names = ", ".join(sorted("/".join(pair) for pair in known)) or "none"
        raise ConfigurationError(f"the index knows no such topic and group; --live asks the broker. Known are: {names}")


def known_id(index: Index, beginning: str) -> list[Key]:
    """The keys of the letters with that id, in whatever group. Raises `WaybillError` for none, `ConfigurationError` for several."""
    found = index.find(beginning)
    one = meant("id", beginning, {letter.key.id for letter in found})
    if one is None:
        raise WaybillError(f"no dead letter has an id that begins with {beginning!r}: `waybill dlq list` shows them")
    return [letter.key for letter in found if letter.key.id == one]


def resolved(index: Index, query: Query) -> Query:
    """With whole ids and a whole fingerprint in place of beginnings.

    Raises `WaybillError` where no id begins like that, `ConfigurationError` for several ids or fingerprints.
    """
    ids = tuple(known_id(index, beginning)[0].id for beginning in query.ids)
    kind = None if query.fingerprint is None else meant("fingerprint", query.fingerprint, _kinds(index, query))
    return msgspec.structs.replace(query, ids=ids, fingerprint=kind or query.fingerprint)


def _kinds(index: Index, query: Query) -> set[str]:
    """The fingerprints that begin as is asked for, of letters that are like that."""
    found: set[str] = set()
    after: str | None = None
    while True:
        page = index.groups(query, after=after)
        found |= {kind.fingerprint for kind in page.groups}
        after = page.after
        if after is None:
            return found
