"""Reading the dead letters of an application's groups."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waybill.adapter import Admin
from waybill.errors import ConfigurationError
from waybill.message import DeadLetterRecord, Message
from waybill.topology import Subscription

if TYPE_CHECKING:
    from waybill.app import App

__all__ = ["Found", "Letter", "Wanted", "collect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which dead letters. `None`: any. `id`: how it begins."""

    topic: str | None = None
    group: str | None = None
    reason: str | None = None
    id: str | None = None

    def takes(self, letter: Letter) -> bool:
        return (self.reason is None or letter.record.reason == self.reason) and (
            self.id is None or letter.message.id.startswith(self.id)
        )


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, where it lies and why."""

    subscription: Subscription
    message: Message
    record: DeadLetterRecord


@dataclass(frozen=True, slots=True)
class Found:
    """The newest `letters`, oldest first, of `total`. `complete`: the broker could show all of them."""

    letters: list[Letter]
    total: int
    complete: bool


async def collect(app: App, wanted: Wanted, limit: int) -> Found:
    """Read them all and keep the newest `limit`. Raises `ConfigurationError` for a topic or group the application lacks."""
    subscriptions = [
        subscription
        for subscription in app.topology.subscriptions
        if wanted.topic in {None, subscription.topic.name} and wanted.group in {None, subscription.group}
    ]
    if not subscriptions:
        known = ", ".join(subscription.name for subscription in app.topology.subscriptions) or "none"
        raise ConfigurationError(f"{app.name} has no such topic and group. Its own are: {known}")
    letters: list[Letter] = []
    total, complete = 0, True
    async with app.admin() as admin:
        for subscription in subscriptions:
            found = await _browse(admin, subscription, wanted, limit)
            letters += found.letters
            total += found.total
            complete &= found.complete
    letters.sort(key=lambda letter: letter.record.at)
    return Found(letters[-limit:], total, complete)


async def _browse(admin: Admin, subscription: Subscription, wanted: Wanted, limit: int) -> Found:
    kept: deque[Letter] = deque(maxlen=limit)
    total, complete, after = 0, True, None
    while True:
        page = await admin.browse(subscription, after=after)
        complete &= page.complete
        for message in page.messages:
            letter = Letter(subscription, message, message.dead or _unexplained(subscription, message))
            if wanted.takes(letter):
                kept.append(letter)
                total += 1
        after = page.after
        if after is None:
            return Found(list(kept), total, complete)


def _unexplained(subscription: Subscription, message: Message) -> DeadLetterRecord:
    """For what others have put there."""
    return DeadLetterRecord(
        reason="unknown",
        topic=subscription.topic.name,
        group=subscription.group,
        attempts=message.attempts,
        at=message.time,
    )
