"""`waybill run`: consume until SIGTERM, in supervised processes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated

import typer

from waybill.app import App
from waybill.cli import options
from waybill.cli.application import describe_bus, open_app, reference_of
from waybill.errors import ConfigurationError

if TYPE_CHECKING:
    from waybill.settings import Settings
    from waybill.supervisor import Orders

__all__ = ["configure_logging", "run"]

log = logging.getLogger("waybill.supervisor")


def run(  # noqa: PLR0917 - typer calls it by name
    app: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:APP]",
            help="The application, for instance service:app; else WAYBILL_APP, else `app` in waybill.toml.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", metavar="N", min=0, help="Processes; 0: this one, without a supervisor and its watchdog."
        ),
    ] = 1,
    watchdog: Annotated[
        float,
        typer.Option(
            "--watchdog",
            metavar="SECONDS",
            min=0,
            help="Seconds without a sign of life until a worker is replaced; 0: never.",
        ),
    ] = 30.0,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: start the workers anew when a source file changes.")
    ] = False,
    url: options.Url = None,
    dev: options.Dev = False,
) -> None:
    """Consume until SIGTERM or SIGINT, then let handlers finish; a second signal leaves at once.

    Workers that die are replaced, after 0.5 s at first and 30 s at most.

    With --reload, what cannot be imported is told, and the next change waited for.
    """
    if reload and workers == 0:
        raise ConfigurationError("--reload ends and starts a worker, so there must be one: leave --workers 0 out")
    reference = reference_of(app, url=url, dev=dev)
    if workers == 0:
        _serve(reference, url=url, dev=dev)
        return
    from waybill.supervisor import Orders  # noqa: PLC0415 - `waybill --help` need not load it

    orders = Orders(app=reference, workers=workers, watchdog=watchdog, url=url, dev=dev)
    configure_logging()
    raise typer.Exit(asyncio.run(_reload(orders) if reload else _supervise(orders)))


async def _supervise(orders: Orders) -> int:
    from waybill.supervisor import Supervisor  # noqa: PLC0415 - `waybill --help` need not load it

    return await Supervisor(orders, log.info).run()


async def _reload(orders: Orders) -> int:
    try:
        from waybill.reloading import Reloader  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        if error.name != "watchfiles":
            raise
        raise ConfigurationError("--reload needs its extra. Install it with: pip install 'waybill[reload]'") from None
    return await Reloader(orders, log.info).run()


def _serve(reference: str, *, url: str | None, dev: bool) -> None:
    from waybill.cli.screen import tell  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.serving import serve  # noqa: PLC0415

    opened, settings = open_app(reference, url=url, dev=dev)
    tell(describe_bus(opened, settings, url=url, dev=dev))
    configure_logging(settings)
    asyncio.run(serve(opened))


def configure_logging(settings: Settings | None = None) -> None:
    """Log to stderr as the settings say (`None`: those of this process), unless the application has said where it logs."""
    from waybill.settings import load  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.telemetry.logs import formatter  # noqa: PLC0415

    handler = logging.StreamHandler()
    handler.setFormatter(formatter(settings or load()))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # which bus the application runs on has been said already
    logging.getLogger("waybill.app").addFilter(lambda record: record.funcName != App.running.__name__)
