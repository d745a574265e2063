"""`waybill backlog`: what lies before each group, once or again and again."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import typer

from waybill.cli import options
from waybill.cli.application import choose_app
from waybill.cli.letters import declared, groups
from waybill.errors import BrokerUnavailable, ConfigurationError
from waybill.topology import Backlog, Count, Exactness

if TYPE_CHECKING:
    from waybill.adapter import Admin
    from waybill.app import App

__all__ = ["backlog"]

COUNTS = ("ready", "in_flight", "delayed", "dead", "handled")
NUMBERS = ("ready", "in flight", "delayed", "dead", "handled", "oldest")
COLUMNS = ("topic", "group", *NUMBERS)
ABOUT = frozenset({Exactness.APPROXIMATE, Exactness.AT_LEAST})
SECONDS = 2.0

Show = Callable[[Sequence["Seen"], str], None]
"""Takes what was found, and what is wrong now: `""` when nothing is."""


class Seen(NamedTuple):
    """One group. circuits: those that it waits for, by name; `None`: nobody can say."""

    backlog: Backlog
    circuits: Mapping[str, str] | None


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

    Where the processes share a folder (WAYBILL_STATUS_DIR): which circuits a group waits for, and how they are.

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
        table(*_table(found), numbers=NUMBERS)


async def _once(app: App) -> list[Seen]:
    async with app.admin() as admin:
        return await _read(app, admin)


async def _read(app: App, admin: Admin) -> list[Seen]:
    circuits = _circuits(app)
    return [
        Seen(await admin.backlog(group), None if circuits is None else circuits.get(declared(app, group).name, {}))
        for group in await groups(app, admin)
    ]


def _circuits(app: App) -> Mapping[str, Mapping[str, str]] | None:
    """Of each group, as the processes say in the folder that they share. `None`: there is none, or none of them lives."""
    if app.settings is None or app.settings.status_dir is None:
        return None
    from waybill.ops.circuits import by_group  # noqa: PLC0415 - only where it is shown
    from waybill.ops.folder import Folder  # noqa: PLC0415
    from waybill.ops.probing import fresh  # noqa: PLC0415

    living = fresh(Folder(Path(app.settings.status_dir)).states(), time.time())
    return by_group(living) if living else None


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
    found: list[Seen] = []
    async with app.admin() as admin:
        while True:
            start, wrong = loop.time(), ""
            try:
                found = await _read(app, admin)
            except BrokerUnavailable as error:
                wrong = str(error)  # an outage is when people look: the next one may find it over
            show(found, wrong)
            await asyncio.sleep(max(0.0, start + seconds - loop.time()))


def _screen(found: Sequence[Seen], wrong: str) -> Any:
    from rich.text import Text  # noqa: PLC0415

    from waybill.cli.screen import laid_out, safe  # noqa: PLC0415

    head, *rows = laid_out(*_table(found), numbers=NUMBERS)
    text = Text(head, style="bold", no_wrap=True)
    text.append("\n".join(["", *rows]), style="not bold")
    if wrong:
        text.append("\n" + safe(wrong), style="not bold red")
    return text


class _Lines:
    """For a pipe: the columns' names once, then a line for each group at each look."""

    def __init__(self) -> None:
        self._headed = False

    def show(self, found: Sequence[Seen], wrong: str) -> None:
        from waybill.cli.screen import laid_out, line, tell  # noqa: PLC0415

        if wrong:
            tell(wrong)
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        columns, cells = _table(found)
        head, *rows = laid_out(("time", *columns), [[now, *row] for row in cells], numbers=NUMBERS)
        for text in rows if self._headed else (head, *rows):
            line(text)
        sys.stdout.flush()
        self._headed = True


def _show_document(found: Sequence[Seen], wrong: str) -> None:
    from waybill.cli.screen import line, tell  # noqa: PLC0415

    if wrong:
        tell(wrong)
        return
    line(msgspec.json.encode([_object(item) for item in found]).decode())
    sys.stdout.flush()


def _table(found: Sequence[Seen]) -> tuple[list[str], list[list[str]]]:
    """The columns' names and the rows; with circuits where somebody has said how they are."""
    if all(circuits is None for _, circuits in found):
        return [*COLUMNS], [_row(item) for item, _ in found]
    return [*COLUMNS, "circuit"], [[*_row(item), _circuit(circuits or {})] for item, circuits in found]


def _row(item: Backlog) -> list[str]:
    return [
        item.subscription.topic.name,
        item.subscription.group,
        *(_cell(getattr(item, name)) for name in COUNTS),
        _cell(item.oldest, seconds=True),
    ]


def _circuit(circuits: Mapping[str, str]) -> str:
    """Those that are not closed, by name."""
    if not circuits:
        return "-"
    return ", ".join(f"{name} {state}" for name, state in circuits.items() if state != "closed") or "closed"


def _cell(count: Count, *, seconds: bool = False) -> str:
    from waybill.cli.screen import age  # noqa: PLC0415

    if count.exactness is Exactness.UNKNOWN:
        return "?"
    if count.value is None:
        return "-"
    about = "~" if count.exactness in ABOUT else ""
    return about + (age(count.value) if seconds else f"{count.value:.0f}")


def _object(seen: Seen) -> dict[str, Any]:
    """Figures as numbers, `null` where there is none; which of them are not exact stands beside them."""
    item = seen.backlog
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
        "approximate": [name for name, count in figures.items() if count.exactness in ABOUT],
        "unknown": [name for name, count in figures.items() if count.exactness is Exactness.UNKNOWN],
        "partitions": [
            {"partition": part.partition, "ready": part.ready.value, "handled": part.handled.value}
            for part in item.parts
        ],
        "circuits": seen.circuits,
    }
