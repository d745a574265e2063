"""`waybill backlog`: what lies before each group."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from waybill.cli import options
from waybill.cli.application import open_app, reference_of
from waybill.topology import Backlog, Count, Exactness

if TYPE_CHECKING:
    from waybill.app import App

__all__ = ["backlog"]

COUNTS = ("ready", "in_flight", "delayed", "dead")


def backlog(
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Show what is ready, in flight, delayed and dead, a line for each group of the application's topics.

    ~ marks what is approximate, ? what the broker cannot say.
    """
    from waybill.cli.screen import age, document, table  # noqa: PLC0415 - `waybill --help` need not load it

    found = asyncio.run(_read(open_app(reference_of(app, url=url, dev=dev), url=url, dev=dev)[0]))
    if as_json:
        document([_object(item) for item in found])
        return

    def cell(count: Count, *, seconds: bool = False) -> str:
        if count.exactness is Exactness.UNKNOWN:
            return "?"
        if count.value is None:
            return "-"
        return ("~" if count.exactness is Exactness.APPROXIMATE else "") + (
            age(count.value) if seconds else f"{count.value:.0f}"
        )

    rows = [
        [
            item.subscription.topic.name,
            item.subscription.group,
            *(cell(getattr(item, name)) for name in COUNTS),
            cell(item.oldest, seconds=True),
        ]
        for item in found
    ]
    numbers = ["ready", "in flight", "delayed", "dead", "oldest"]
    table(["topic", "group", *numbers], rows, numbers=numbers)


async def _read(app: App) -> list[Backlog]:
    async with app.admin() as admin:
        return [await admin.backlog(subscription) for subscription in app.topology.subscriptions]


def _object(item: Backlog) -> dict[str, Any]:
    """Figures as numbers, `null` where there is none; which of them are not exact stands beside them."""
    figures: dict[str, Count] = {
        **{name: getattr(item, name) for name in COUNTS},
        "oldest_seconds": item.oldest,
        "next_due_seconds": item.next_due,
    }
    return {
        "topic": item.subscription.topic.name,
        "group": item.subscription.group,
        **{
            name: int(count.value) if name in COUNTS and count.value is not None else count.value
            for name, count in figures.items()
        },
        "approximate": [name for name, count in figures.items() if count.exactness is Exactness.APPROXIMATE],
        "unknown": [name for name, count in figures.items() if count.exactness is Exactness.UNKNOWN],
    }
