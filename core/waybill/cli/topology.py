"""`waybill topology`: what has to exist on the broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from waybill.cli import options
from waybill.cli.application import open_app, reference_of

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.topology import Plan

__all__ = ["group"]

group = typer.Typer(help="Topics and groups on the broker.", no_args_is_help=True)


@group.command("apply", epilog="Example: waybill topology apply --app service:app")
def apply(
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Create what is missing. Nothing is deleted; what differs is named, left as it is, and makes the exit code 2."""
    from waybill.cli.screen import document, line  # noqa: PLC0415 - `waybill --help` need not load it

    plan = asyncio.run(_apply(open_app(reference_of(app, url=url, dev=dev), url=url, dev=dev)[0]))
    if as_json:
        document([{"action": c.action, "what": c.what, "detail": c.detail} for c in plan.changes])
    for change in plan.changes if not as_json else ():
        done = "created" if change.action == "create" else "differs, left as it is:"
        line(f"{done} {change.what} {change.detail}".rstrip())
    if not plan.changes and not as_json:
        line("nothing was missing")
    if any(change.action == "differs" for change in plan.changes):
        raise typer.Exit(2)


async def _apply(app: App) -> Plan:
    async with app.admin() as admin:
        plan = await admin.plan(app.topology)
        await admin.apply(plan)
        return plan
