"""`waybill probe`: whether the processes that share a folder live, or are ready."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from waybill.cli import options
from waybill.cli.operators import StatusDir, Where
from waybill.errors import ConfigurationError
from waybill.ops import probing

__all__ = ["probe"]


def probe(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Whether one of them at least can go on. If not, only new ones help.")
    ] = False,
    ready: Annotated[
        bool, typer.Option("--ready", help="Whether each that lives consumes, and moves, and there is one.")
    ] = False,
    status_dir: StatusDir = None,
    within: Annotated[
        float,
        typer.Option(
            "--within", metavar="SECONDS", min=2, help="A process that has written nothing for so long does not live."
        ),
    ] = probing.FRESH,
    as_json: options.Json = False,
) -> None:
    """Answer a probe from what the processes of `waybill run` write every second; for those that cannot ask over HTTP.

    It reads files: it imports no application and connects to nothing.
    """
    if live == ready:
        raise ConfigurationError("ask one thing: --live or --ready")
    states = Where(status_dir, imports=False).folder.states()
    answer = (probing.live if live else probing.ready)(states, time.time(), within)
    if as_json:
        from waybill.cli.screen import document  # noqa: PLC0415 - a probe should be quick

        document([answer._asdict()])
    else:
        typer.echo(answer.why, err=not answer.ok)
    raise typer.Exit(0 if answer.ok else 1)
