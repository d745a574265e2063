"""`waybill exporter`: backlogs and dead letters as metrics, from a process that consumes nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waybill.cli import options
from waybill.cli.application import choose_app
from waybill.errors import BrokerError, ConfigurationError

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.telemetry.exporting import Exporter

__all__ = ["exporter"]

log = logging.getLogger("waybill.exporter")

KEPT = 3
"""Looks that may fail until figures are no longer told: alerts shall not flap for one."""


def exporter(  # noqa: PLR0917 - typer calls it by name
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where it answers; port 0: a free one.")
    ] = "127.0.0.1:9464",
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="Between two looks.")] = 15.0,
    objective: Annotated[
        float,
        typer.Option(
            "--objective", metavar="SECONDS", min=0.001, help="The age that no message should reach; told as is."
        ),
    ] = 300.0,
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
) -> None:
    """Tell Prometheus, over HTTP, what lies before each group and among its dead letters, until SIGTERM.

    Run one beside the consumers, not in them: when they die it still tells what waits for them. It looks every few seconds,
    however often it is asked; where a broker is paid by the call, choose --every accordingly.
    """
    from waybill.cli.run import configure_logging  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.cli.screen import tell  # noqa: PLC0415
    from waybill.dlq.index import DEFAULT  # noqa: PLC0415
    from waybill.telemetry.exporting import Exporter  # noqa: PLC0415
    from waybill.telemetry.prometheus import serve  # noqa: PLC0415

    opened = choose_app(app, url=url, dev=dev)
    settings = opened.settings
    assert settings is not None  # noqa: S101 - it was opened with them
    configure_logging(settings)
    consumed = [(each.subscription.topic.name, each.subscription.group) for each in opened.registrations]
    figures = Exporter(keep=KEPT * every, objective=objective, consumed=consumed, index=Path(settings.dlq or DEFAULT))
    host, port = _place(listen)
    with serve(figures, host, port) as where:
        tell(f"metrics of {opened.name} on http://{where}/metrics, looked at every {every:g} s")
        asyncio.run(_export(opened, figures, every))


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"--listen {listen}: write HOST:PORT, for instance 0.0.0.0:9464")
    return host.strip("[]"), int(port)


async def _export(app: App, figures: Exporter, every: float) -> None:
    looking = asyncio.create_task(_look_on(app, figures, every))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, looking.cancel)
    with suppress(asyncio.CancelledError):
        await looking


async def _look_on(app: App, figures: Exporter, every: float) -> None:
    """On one connection as long as it lasts, then on another. Never returns.

    Raises what is wrong with the configuration, unless a look has succeeded already.
    """
    while True:
        try:
            async with app.admin(create=False) as admin:
                while True:
                    await figures.look(admin, app.topology.subscriptions)
                    await asyncio.sleep(every)
        except (BrokerError, TimeoutError) as error:
            log.warning("%s: the broker cannot be looked at: %s", app.name, str(error) or "no answer in time")
        except Exception as error:  # an adapter's bug, for instance: said loudly, and tried again
            if isinstance(error, ConfigurationError) and not figures.looked:
                raise
            log.exception("%s: the broker cannot be looked at", app.name)
        figures.missed()
        await asyncio.sleep(every)
