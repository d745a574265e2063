"""`waybill run`: consume until SIGTERM, in supervised processes."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer

from waybill.cli import options
from waybill.cli.application import describe_bus, open_app, reference_of

__all__ = ["configure_logging", "run"]


def run(
    app: Annotated[
        str | None, typer.Argument(metavar="[MODULE:APP]", help="The application, for instance service:app.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes; 0: this one, without a supervisor and its watchdog.")
    ] = 1,
    watchdog: Annotated[
        float,
        typer.Option("--watchdog", min=0, help="Seconds without a sign of life until a worker is replaced; 0: never."),
    ] = 30.0,
    url: options.Url = None,
    dev: options.Dev = False,
) -> None:
    """Consume until SIGTERM or SIGINT, then let handlers finish; a second signal leaves at once.

    Workers that die are replaced, after 0.5 s at first and 30 s at most.
    """
    from waybill.cli.screen import tell  # noqa: PLC0415 - `waybill --help` need not load it

    reference = reference_of(app, url=url, dev=dev)
    if workers == 0:
        from waybill.serving import serve  # noqa: PLC0415

        opened, settings = open_app(reference, url=url, dev=dev)
        tell(describe_bus(opened, settings))
        configure_logging()
        asyncio.run(serve(opened))
        return
    from waybill.supervisor import Orders, Supervisor  # noqa: PLC0415

    orders = Orders(app=reference, workers=workers, watchdog=watchdog, url=url, dev=dev)

    async def supervise() -> int:
        return await Supervisor(orders, tell).run()

    raise typer.Exit(asyncio.run(supervise()))


def configure_logging() -> None:
    """Log to stderr, unless the application has said where it logs."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s")
