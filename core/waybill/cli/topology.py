"""`waybill topology`: what has to exist on the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from waybill.cli import options
from waybill.cli.application import choose_app
from waybill.errors import ConfigurationError

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.topology import Plan

__all__ = ["group"]

group = typer.Typer(help="Topics and groups on the broker.", no_args_is_help=True)

DIFFERS = "differs, left as it is:"
Allow: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", metavar="NAME", help="Change this too, though less is kept or taken then. May be repeated."
    ),
]


@group.command("plan", epilog="Example: waybill topology plan --app service:app")
def plan(
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Show what `apply` would create and alter, and what differs otherwise. Nothing is changed; the exit code is 0 either way."""
    found = asyncio.run(_plan(choose_app(app, url=url, dev=dev)))
    _show(
        found,
        {"create": "would create", "alter": "would alter", "differs": DIFFERS},
        "nothing is missing",
        as_json=as_json,
    )


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
    _show(
        found,
        {"create": "missing:", "alter": "differs:", "differs": "differs:"},
        "everything is there",
        as_json=as_json,
    )
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
    allow: Allow = None,
) -> None:
    """Create what is missing, and alter what costs nobody anything. Nothing is deleted.

    What differs otherwise (less would be kept, messages left out) is changed where --allow names it as `plan` does, e.g.
    "topic orders.placed"; else it is named and left as it is, and the exit code is 2.
    """
    allowed = allow or []
    found = asyncio.run(_apply(choose_app(app, url=url, dev=dev), allowed))
    _show(
        found,
        {"create": "created", "alter": "altered", "differs": DIFFERS},
        "nothing was missing",
        allowed,
        as_json=as_json,
    )
    if any(change.action == "differs" and change.what not in allowed for change in found.changes):
        raise typer.Exit(2)


async def _plan(app: App) -> Plan:
    async with app.admin() as admin:
        return await admin.plan(app.topology)


async def _apply(app: App, allow: Sequence[str]) -> Plan:
    async with app.admin() as admin:
        plan = await admin.plan(app.topology)
        differing = [change.what for change in plan.changes if change.action == "differs"]
        if unknown := sorted(set(allow) - {change.what for change in plan.changes}):
            raise ConfigurationError(
                f"--allow {unknown[0]!r}: nothing of that name differs. What does: {differing or 'nothing'}"
            )
        await admin.apply(plan, allow=allow)
        return plan


def _show(plan: Plan, words: Mapping[str, str], none: str, allowed: Sequence[str] = (), *, as_json: bool) -> None:
    """Each change under what its action is called here; `none` where there is no change."""
    from waybill.cli.screen import document, line, safe  # noqa: PLC0415 - `waybill --help` need not load it

    if as_json:
        document([{"action": c.action, "what": c.what, "detail": c.detail} for c in plan.changes])
        return
    for change in plan.changes:
        word = words["alter" if change.what in allowed and change.action == "differs" else change.action]
        line(safe(f"{word} {change.what} {change.detail}"))
    if not plan.changes:
        line(none)
