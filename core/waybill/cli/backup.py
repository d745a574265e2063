"""`waybill backup`: a copy of all that the broker holds, made while it is in use."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waybill.backing import Backs, Copied
from waybill.cli import options
from waybill.cli.application import open_app, reference_of
from waybill.clock import SystemClock
from waybill.errors import ConfigurationError
from waybill.loading import AdapterContext, open_adapter

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = ["backup"]


def backup(  # noqa: PLR0917 - typer calls it by name
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes: one new file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Copy all messages, groups and dead letters into one file, as they are at one moment, beside those who use the broker.

    FILE appears when the copy is complete and checked. With --url no application is needed. For the embedded broker; other
    brokers have means of their own.
    """
    from waybill.cli.screen import document, line, safe  # noqa: PLC0415 - `waybill --help` need not load it

    settings = _settings(app, url=url, dev=dev)
    target = Path(os.path.abspath(file))  # noqa: PTH100 - `resolve` would follow a link that is to be replaced
    if os.path.lexists(target) and not force:
        raise ConfigurationError(f"{file}: there is such a file. Name a new one, or replace it with --force")
    copied = asyncio.run(_copy(_backing(settings), target))
    if as_json:
        document([{"file": str(target), "messages": copied.messages, "dead": copied.dead, "bytes": copied.bytes}])
    else:
        line(safe(f"{file}: {copied.messages} messages and {copied.dead} dead letters, {copied.bytes / 1e6:.1f} MB"))


def _settings(app: str | None, *, url: str | None, dev: bool) -> Settings:
    """What the application runs with; where a URL is given, nobody needs to know the application."""
    from waybill.settings import load  # noqa: PLC0415 - pydantic-settings is slow to import

    if url is not None:
        return load(url=url)
    settings = load(dev=True) if dev else load()
    if app is None and settings.app is None:
        return settings
    return open_app(reference_of(app, url=url, dev=dev), url=url, dev=dev)[1]


def _backing(settings: Settings) -> Backs:
    from waybill.settings import broker_url  # noqa: PLC0415

    context = AdapterContext(application="waybill backup", clock=SystemClock(), options=settings.broker)
    adapter = open_adapter(broker_url(settings), context)
    if not isinstance(adapter, Backs):
        raise ConfigurationError(f"{adapter.claims.broker} is not copied by this command: use its own means")
    return adapter


async def _copy(backing: Backs, target: Path) -> Copied:
    from waybill.cli.progress import bar  # noqa: PLC0415

    with bar(1.0, "copying") as show:
        return await backing.backup(target, show)
