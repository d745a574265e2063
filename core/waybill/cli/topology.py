"""`waybill topology`: what has to exist on the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from waybill.cli import options
from waybill.cli.application import choose_app

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.topology import Plan

__all__ = ["group"]

group = typer.Typer(help="Topics and groups on the broker.", no_args_is_help=True)

DIFFERS = "differs, left as it is:"


@group.command("plan", epilog="Example: waybill topology plan --app service:app")
def plan(
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Show what `apply` would create, and what differs. Nothing is changed; the exit code is 0 either way."""
    found = asyncio.run(_plan(choose_app(app, url=url, dev=dev)))
    _show(found, {"create": "would create", "differs": DIFFERS}, "nothing is missing", as_json=as_json)


@group.command(
    "verify",
    epilog="Example: waybill topology verify --app service:app || exit 1\n\nExit codes: 0 everything is there, 1 failed, 2 drift or wrong use.",
)
def verify(
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Name everything that is missing or differs, and exit with 2 if there is anything. Nothing is changed."""
    found = asyncio.run(_plan(choose_app(app, url=url, dev=dev)))
    _show(found, {"create": "missing:", "differs": "differs:"}, "everything is there", as_json=as_json)
    if found.changes:
        raise typer.Exit(2)


@group.command(
    "apply",
    epilog="Example: waybill topology apply --app service:app\n\nExit codes: 0 everything is there now, 1 failed, 2 something differs, or wrong use.",
)
def apply(
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Create what is missing. Nothing is deleted; what differs is named, left as it is, and makes the exit code 2."""
    found = asyncio.run(_apply(choose_app(app, url=url, dev=dev)))
    _show(found, {"create": "created", "differs": DIFFERS}, "nothing was missing", as_json=as_json)
    if any(change.action == "differs" for change in found.changes):
        raise typer.Exit(2)


async def _plan(app: App) -> Plan:
    async with app.admin() as admin:
        return await admin.plan(app.topology)


async def _apply(app: App) -> Plan:
    async with app.admin() as admin:
        plan = await admin.plan(app.topology)
        await admin.apply(plan)
        return plan


def _show(plan: Plan, words: Mapping[str, str], none: str, *, as_json: bool) -> None:
    """Each change under what its action is called here; `none` where there is no change."""
    from waybill.cli.screen import document, line, safe  # noqa: PLC0415 - `waybill --help` need not load it

    if as_json:
        document([{"action": c.action, "what": c.what, "detail": c.detail} for c in plan.changes])
        return
    for change in plan.changes:
        line(safe(f"{words[change.action]} {change.what} {change.detail}"))
    if not plan.changes:
        line(none)
