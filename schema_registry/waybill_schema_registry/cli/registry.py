"""`waybill registry`: the registry itself."""

from __future__ import annotations

import typer

from waybill.cli.further import late

__all__ = ["group"]

group = typer.Typer(
    help="The schema registry: over HTTP, and as a dump.",
    no_args_is_help=True,
    add_completion=False,
    cls=late("waybill_schema_registry.cli.registry_verbs"),
)


@group.callback()
def registry() -> None:
    """The schema registry: over HTTP, and as a dump."""
