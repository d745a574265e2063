"""What `redrive` and `discard` would do: counted before anything is taken."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from waybill.adapter import Admin
from waybill.cli.letters import Letter, Wanted
from waybill.letters import pages
from waybill.topology import Subscription

__all__ = ["Kind", "Survey", "command", "survey"]


@dataclass(slots=True)
class Kind:
    """Dead letters of one group that died of one reason."""

    subscription: Subscription
    reason: str
    oldest: datetime
    count: int = 0
    expired: int = 0
    """Of `count`: to be handled by a time that has passed."""

    def as_object(self, now: datetime) -> dict[str, Any]:
        return {
            "dry_run": True,
            "topic": self.subscription.topic.name,
            "group": self.subscription.group,
            "reason": self.reason,
            "letters": self.count,
            "oldest_seconds": round((now - self.oldest).total_seconds(), 3),
            "ordered": self.subscription.ordered,
            "expired": self.expired,
        }


@dataclass(frozen=True, slots=True)
class Survey:
    """What would be done, by group and reason. `found` may be more than `limit` lets through."""

    kinds: list[Kind]
    found: int
    complete: bool

    @property
    def total(self) -> int:
        return sum(kind.count for kind in self.kinds)

    def warnings(self) -> list[str]:
        """What somebody should know who sends these once more."""
        told: list[str] = []
        ordered = list(dict.fromkeys(kind.subscription.name for kind in self.kinds if kind.subscription.ordered))
        if ordered:
            told.append(
                f"{', '.join(ordered)}: consumed ordered; a redriven message goes to the end of its key's line, "
                f"behind later ones"
            )
        if expired := sum(kind.expired for kind in self.kinds):
            told.append(f"{expired} of them have expired: they would be dead-lettered again, unhandled")
        return told


async def survey(admin: Admin, subscriptions: Sequence[Subscription], wanted: Wanted, limit: int | None) -> Survey:
    """Look at all dead letters of these groups, in the order in which they would be taken. Takes none."""
    now = datetime.now(UTC)
    kinds: dict[tuple[str, str], Kind] = {}
    found, complete = 0, True
    for subscription in subscriptions:
        async with aclosing(pages(admin, subscription)) as shown:
            async for page in shown:
                complete &= page.complete
                for message in page.messages:
                    letter = Letter.of(subscription, message)
                    if not wanted.takes(letter):
                        continue
                    found += 1
                    if limit is not None and found > limit:
                        continue
                    at = letter.record.at
                    key = subscription.name, letter.record.reason
                    kind = kinds.setdefault(key, Kind(subscription, letter.record.reason, at))
                    kind.count += 1
                    kind.oldest = min(kind.oldest, at)
                    kind.expired += message.expires is not None and message.expires < now
    return Survey(list(kinds.values()), found, complete)


def command() -> str:
    """The command line that was given, and `--yes`. A password in a URL is not repeated."""
    from waybill.settings import safe_url  # noqa: PLC0415 - pydantic-settings is slow to import

    words = sys.argv[1:]
    for place, word in enumerate(words):
        if word.startswith("--url="):
            words[place] = "--url=" + safe_url(word.removeprefix("--url="))
        elif place and words[place - 1] == "--url":
            words[place] = safe_url(word)
    return shlex.join(["waybill", *words, "--yes"])
