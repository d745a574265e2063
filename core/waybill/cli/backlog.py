"""`waybill backlog`: what lies before each group, once or again and again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from waybill.cli import options
from waybill.cli.application import choose_app
from waybill.cli.letters import groups
from waybill.errors import BrokerUnavailable, ConfigurationError
from waybill.topology import Backlog, Count, Exactness

if TYPE_CHECKING:
    from waybill.adapter import Admin
    from waybill.app import App

__all__ = ["backlog"]

COUNTS = ("ready", "in_flight", "delayed", "dead", "handled")
NUMBERS = ("ready", "in flight", "delayed", "dead", "handled", "oldest")
COLUMNS = ("topic", "group", *NUMBERS)
SECONDS = 2.0

Show = Callable[[Sequence[Backlog], str], None]
"""Takes what was found, and what is wrong now: `""` when nothing is."""


def backlog(  # noqa: PLR0917 - typer calls it by name
    seconds: Annotated[
        float | None, typer.Argument(metavar="SECONDS", min=0.1, help="With --watch: between two looks; default 2.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Show what is ready, in flight, delayed and dead, a line for each group of the application's topics.

    Handled are those that lie behind one that is not, where a broker counts by position. ~ marks what is approximate, ? what
    the broker cannot say.

    With --watch: one table that changes on a terminal, lines with the time in a pipe, a document a line with --json.
    """
    from waybill.cli.screen import document, table  # noqa: PLC0415 - `waybill --help` need not load it

    if seconds is not None and not watch:
        raise ConfigurationError(f"{seconds:g}: seconds are for --watch")
    opened = choose_app(app, url=url, dev=dev)
    if watch:
        with suppress(KeyboardInterrupt):
            _watch(opened, SECONDS if seconds is None else seconds, as_json=as_json)
        return
    found = asyncio.run(_once(opened))
    if as_json:
        document([_object(item) for item in found])
    else:
        table(COLUMNS, _rows(found), numbers=NUMBERS)


async def _once(app: App) -> list[Backlog]:
    async with app.admin() as admin:
        return await _read(app, admin)


async def _read(app: App, admin: Admin) -> list[Backlog]:
    return [await admin.backlog(subscription) for subscription in await groups(app, admin)]


def _watch(app: App, seconds: float, *, as_json: bool) -> None:
    if as_json:
        asyncio.run(_again(app, seconds, _show_document))
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - only where it is shown
        from rich.live import Live  # noqa: PLC0415

        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            asyncio.run(_again(app, seconds, lambda found, wrong: live.update(_screen(found, wrong), refresh=True)))
    else:
        asyncio.run(_again(app, seconds, _Lines().show))


async def _again(app: App, seconds: float, show: Show) -> None:
    loop = asyncio.get_running_loop()
    found: list[Backlog] = []
    async with app.admin() as admin:
        while True:
            start, wrong = loop.time(), ""
            try:
                found = await _read(app, admin)
            except BrokerUnavailable as error:
                wrong = str(error)  # an outage is when people look: the next one may find it over
            show(found, wrong)
            await asyncio.sleep(max(0.0, start + seconds - loop.time()))


def _screen(found: Sequence[Backlog], wrong: str) -> Any:
    from rich.text import Text  # noqa: PLC0415

    from waybill.cli.screen import laid_out, safe  # noqa: PLC0415

    head, *rows = laid_out(COLUMNS, _rows(found), numbers=NUMBERS)
    text = Text(head, style="bold", no_wrap=True)
    text.append("\n".join(["", *rows]), style="not bold")
    if wrong:
        text.append("\n" + safe(wrong), style="not bold red")
    return text


class _Lines:
    """For a pipe: the columns' names once, then a line for each group at each look."""

    def __init__(self) -> None:
        self._headed = False

    def show(self, found: Sequence[Backlog], wrong: str) -> None:
        from waybill.cli.screen import laid_out, line, tell  # noqa: PLC0415

        if wrong:
            tell(wrong)
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        head, *rows = laid_out(("time", *COLUMNS), [[now, *row] for row in _rows(found)], numbers=NUMBERS)
        for text in rows if self._headed else (head, *rows):
            line(text)
        sys.stdout.flush()
        self._headed = True


def _show_document(found: Sequence[Backlog], wrong: str) -> None:
    from waybill.cli.screen import line, tell  # noqa: PLC0415

    if wrong:
        tell(wrong)
        return
    line(msgspec.json.encode([_object(item) for item in found]).decode())
    sys.stdout.flush()


def _rows(found: Sequence[Backlog]) -> list[list[str]]:
    return [
        [
            item.subscription.topic.name,
            item.subscription.group,
            *(_cell(getattr(item, name)) for name in COUNTS),
            _cell(item.oldest, seconds=True),
        ]
        for item in found
    ]


def _cell(count: Count, *, seconds: bool = False) -> str:
    from waybill.cli.screen import age  # noqa: PLC0415

    if count.exactness is Exactness.UNKNOWN:
        return "?"
    if count.value is None:
        return "-"
    about = "~" if count.exactness is Exactness.APPROXIMATE else ""
    return about + (age(count.value) if seconds else f"{count.value:.0f}")


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
            name: int(count.value) if "seconds" not in name and count.value is not None else count.value
            for name, count in figures.items()
        },
        "approximate": [name for name, count in figures.items() if count.exactness is Exactness.APPROXIMATE],
        "unknown": [name for name, count in figures.items() if count.exactness is Exactness.UNKNOWN],
        "partitions": [
            {"partition": part.partition, "ready": part.ready.value, "handled": part.handled.value}
            for part in item.parts
        ],
    }
