"""Which dead letters, and reading those of an application's groups."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import msgspec
import typer

from waybill.adapter import Admin
from waybill.deadletters import fingerprint_of
from waybill.durations import spelled
from waybill.errors import LONGEST, ConfigurationError, WaybillError
from waybill.letters import pages, record_of
from waybill.message import DeadLetterRecord, Message
from waybill.topology import Subscription, matches

if TYPE_CHECKING:
    from waybill.app import App

Given = TypeVar("Given", str | None, list[str] | None)

__all__ = [
    "NONE",
    "REASONS",
    "Found",
    "Letter",
    "Wanted",
    "collect",
    "declared",
    "duration",
    "groups",
    "known_reason",
    "meant",
    "not_empty",
    "resolve",
    "select",
]

REASONS = (
    "rejected", "retries_exhausted", "non_retryable", "decode_error", "expired", "crashed", "delivery_limit",
    "max_length", "redrive_limit", "unknown",
)  # fmt: skip
"""Why a message may be a dead letter: those of `DeadLetterRecord`, and `unknown` where somebody else has put it there."""

NONE = "no dead letter is like that"
SHOWN = 5
"""Ids that are named where several begin alike."""


def duration(option: str, text: str | None) -> timedelta | None:
    """`90s`, `5m`, `2h`, `3d` or `1.5h`. Raises `ConfigurationError`."""
    if text is None:
        return None
    found = spelled(text)
    if found is None:
        raise ConfigurationError(f"{option} {text}: write a number and a unit: 90s, 5m, 2h or 3d")
    if found.total_seconds() > LONGEST:
        raise ConfigurationError(f"{option} {text}: a century is the most")
    return found


def known_reason(reason: str | None) -> str | None:
    """`reason`, if letters can have it. Raises `ConfigurationError`: nothing at all is like what is misspelt."""
    if reason is None or reason in REASONS:
        return reason
    near = difflib.get_close_matches(reason, REASONS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ConfigurationError(f"--reason {reason}: there is no such reason. {hint}Reasons are: {', '.join(REASONS)}")


def not_empty(param: typer.CallbackParam, given: Given) -> Given:
    """`given`, if it says something. Raises `ConfigurationError`: a variable that is not set would mean all of them, or another
    place."""
    if any(not one.strip() for one in ([given] if isinstance(given, str) else given or ())):
        option = param.opts[0] if param.opts[0].startswith("-") else "ID"
        raise ConfigurationError(f"{option} is empty: is a variable not set? Else leave it out")
    return given


def meant(what: str, beginning: str, found: Collection[str]) -> str | None:
    """Which of those found is meant by their beginning: one that is given whole is, even if others begin with it.

    `None` where none is found. Raises `ConfigurationError` for several.
    """
    if len(found) > 1 and beginning not in found:
        shown = ", ".join(sorted(found)[:SHOWN]) + (", …" if len(found) > SHOWN else "")
        raise ConfigurationError(f"several {what}s begin with {beginning!r}: {shown}")
    return beginning if beginning in found else next(iter(found), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which dead letters. `None`: any. `ids`: how they begin, any of them."""

    topic: str | None = None
    group: str | None = None
    reason: str | None = None
    type: str | None = None
    fingerprint: str | None = None
    """Or its beginning."""
    ids: tuple[str, ...] | None = None
    whole: bool = False
    """`ids` are whole ids."""
    before: datetime | None = None
    """Dead-lettered before, …"""
    since: datetime | None = None
    """… and since."""

    def takes(self, letter: Letter) -> bool:
        message, record = letter.message, letter.record
        return (
            self.reason in {None, record.reason}
            and self.type in {None, message.type}
            and (self.fingerprint is None or record.fingerprint.startswith(self.fingerprint))
            and (self.ids is None or (message.id in self.ids if self.whole else message.id.startswith(self.ids)))
            and (self.before is None or record.at < self.before)
            and (self.since is None or record.at >= self.since)
        )

    def aged(self, *, older_than: str | None, newer_than: str | None) -> Wanted:
        """Also of this age. Raises `ConfigurationError`."""
        older, newer = duration("--older-than", older_than), duration("--newer-than", newer_than)
        if older is not None and newer is not None and older >= newer:
            raise ConfigurationError(f"nothing is both older than {older_than} and newer than {newer_than}")
        now = datetime.now(UTC)
        return replace(
            self, before=None if older is None else now - older, since=None if newer is None else now - newer
        )


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, where it lies and why."""

    subscription: Subscription
    message: Message
    record: DeadLetterRecord

    @classmethod
    def of(cls, subscription: Subscription, message: Message) -> Letter:
        record = record_of(subscription, message)
        if not record.fingerprint:
            record = msgspec.structs.replace(record, fingerprint=fingerprint_of(message, record))
        return cls(subscription, message, record)


@dataclass(frozen=True, slots=True)
class Found:
    """The newest `letters`, oldest first, of `total`. `complete`: the broker could show all of them."""

    letters: list[Letter]
    total: int
    complete: bool


async def groups(app: App, admin: Admin) -> list[Subscription]:
    """The groups of the application, those that its patterns stand for among them."""
    return [group for subscription in app.topology.subscriptions for group in await admin.expand(subscription)]


def declared(app: App, group: Subscription) -> Subscription:
    """The subscription in the application's code that one of `groups` belongs to: itself, or one to a pattern."""
    known = {subscription.name: subscription for subscription in app.topology.subscriptions}
    patterns = [each for each in known.values() if each.topic.pattern and each.group == group.group]
    own = (each for each in patterns if matches(each.topic.name, group.topic.name))
    return known.get(group.name) or next(own, group)


async def select(app: App, admin: Admin, wanted: Wanted) -> list[Subscription]:
    """The application's own of that topic and group. Raises `ConfigurationError` when there is none."""
    own = await groups(app, admin)
    subscriptions = [
        subscription
        for subscription in own
        if wanted.topic in {None, subscription.topic.name} and wanted.group in {None, subscription.group}
    ]
    if not subscriptions:
        known = ", ".join(subscription.name for subscription in own) or "none"
        raise ConfigurationError(f"{app.name} has no such topic and group. Its own are: {known}")
    return subscriptions


async def collect(app: App, wanted: Wanted, limit: int) -> Found:
    """Read them all and keep the newest `limit`. Raises `ConfigurationError` for a topic or group the application lacks."""
    letters: list[Letter] = []
    total, complete = 0, True
    async with app.admin() as admin:
        for subscription in await select(app, admin, wanted):
            found = await _browse(admin, subscription, wanted, limit)
            letters += found.letters
            total += found.total
            complete &= found.complete
    letters.sort(key=lambda letter: letter.record.at)
    return Found(letters[-limit:], total, complete)


async def _browse(admin: Admin, subscription: Subscription, wanted: Wanted, limit: int) -> Found:
    kept: deque[Letter] = deque(maxlen=limit)
    total, complete = 0, True
    async with aclosing(pages(admin, subscription)) as shown:
        async for page in shown:
            complete &= page.complete
            for message in page.messages:
                letter = Letter.of(subscription, message)
                if wanted.takes(letter):
                    kept.append(letter)
                    total += 1
    return Found(list(kept), total, complete)


async def resolve(admin: Admin, subscriptions: Sequence[Subscription], wanted: Wanted) -> Wanted:
    """With whole ids and a whole fingerprint in place of beginnings (`meant`).

    Raises `WaybillError` where no id begins like that, `ConfigurationError` where several ids or fingerprints do.
    """
    if (wanted.ids is None and wanted.fingerprint is None) or wanted.whole:
        return wanted
    begun: dict[str, set[str]] = {beginning: set() for beginning in wanted.ids or ()}
    kinds: set[str] = set()
    others = replace(wanted, ids=None)
    for subscription in subscriptions:
        async with aclosing(pages(admin, subscription)) as shown:
            async for page in shown:
                for message in page.messages:
                    for beginning, found in begun.items():
                        if message.id.startswith(beginning):
                            found.add(message.id)
                    if wanted.fingerprint and others.takes(letter := Letter.of(subscription, message)):
                        kinds.add(letter.record.fingerprint)
    ids: list[str] = []
    for beginning, found in begun.items():
        one = meant("id", beginning, found)
        if one is None:
            raise WaybillError(
                f"no dead letter has an id that begins with {beginning!r}: `waybill dlq list` shows them"
            )
        ids.append(one)
    kind = meant("fingerprint", wanted.fingerprint or "", kinds) or wanted.fingerprint
    return replace(wanted, ids=wanted.ids and tuple(ids), fingerprint=kind, whole=True)
