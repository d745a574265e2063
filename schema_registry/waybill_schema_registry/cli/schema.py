"""`waybill schema`: contracts, and what a registry holds."""

from __future__ import annotations

import typer

from waybill.cli.further import late

__all__ = ["group"]

group = typer.Typer(
    help="Schemas: the gate for CI, and what a registry holds.",
    no_args_is_help=True,
    add_completion=False,
    cls=late("waybill_schema_registry.cli.schema_verbs"),
)


@group.callback()
def schemas() -> None:
    """Schemas: the gate for CI, and what a registry holds."""
