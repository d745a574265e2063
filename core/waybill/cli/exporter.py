"""`waybill exporter`: backlogs and dead letters as metrics, from a process that consumes nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waybill.brokers import any_topic, on_each
from waybill.cli import options
from waybill.cli.application import choose_app
from waybill.errors import BrokerError, ConfigurationError

if TYPE_CHECKING:
    from waybill.adapter import Admin
    from waybill.app import App
    from waybill.telemetry.exporting import Exporter
    from waybill.topology import Topology

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
    from waybill.ops.places import host_and_port  # noqa: PLC0415
    from waybill.telemetry.exporting import Exporter  # noqa: PLC0415
    from waybill.telemetry.prometheus import serve  # noqa: PLC0415

    opened = choose_app(app, url=url, dev=dev)
    settings = opened.settings
    assert settings is not None  # noqa: S101 - it was opened with them
    configure_logging(settings)
    consumed = [(each.subscription.topic.name, each.subscription.group) for each in opened.registrations]
    shares = _shares(opened)
    figures = Exporter(
        keep=KEPT * every,
        objective=objective,
        consumed=consumed,
        index=Path(settings.dlq or DEFAULT),
        brokers=[share.broker for share in shares],
    )
    host, port = host_and_port(listen, f"--listen {listen}")
    with serve(figures, host, port) as where:
        tell(f"metrics of {opened.name} on http://{where}/metrics, looked at every {every:g} s")
        asyncio.run(_export(shares, figures, every))


@dataclass(frozen=True, slots=True)
class Share:
    """What of an application lies on one of its brokers."""

    app: App
    broker: str | None
    topology: Topology

    @property
    def name(self) -> str:
        return f"{self.app.name} on {self.broker}" if self.broker else self.app.name

    @asynccontextmanager
    async def admin(self) -> AsyncGenerator[Admin, None]:
        """Connected to this broker alone: another one may be silent."""
        brokers, topology = self.app.brokers(create=False), self.topology
        adapter = (
            brokers.of(any_topic(topology)) if topology.topics or topology.subscriptions else brokers.all[self.broker]
        )
        async with adapter:
            yield adapter.admin


def _shares(app: App) -> list[Share]:
    found = [Share(app, broker, topology) for broker, topology in on_each(app.topology).items()]
    return found or [Share(app, None, app.topology)]


async def _export(shares: Sequence[Share], figures: Exporter, every: float) -> None:
    looking = asyncio.ensure_future(asyncio.gather(*(_look_on(share, figures, every) for share in shares)))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, looking.cancel)
    with suppress(asyncio.CancelledError):
        await looking


async def _look_on(share: Share, figures: Exporter, every: float) -> None:
    """At one broker, on one connection as long as it lasts, then on another. Never returns.

    Raises what is wrong with the configuration, unless a look has succeeded already.
    """
    while True:
        try:
            async with share.admin() as admin:
                while True:
                    await figures.look(admin, share.topology.subscriptions, broker=share.broker)
                    await asyncio.sleep(every)
        except (BrokerError, TimeoutError) as error:
            log.warning("%s: the broker cannot be looked at: %s", share.name, str(error) or "no answer in time")
        except Exception as error:  # an adapter's bug, for instance: said loudly, and tried again
            if isinstance(error, ConfigurationError) and not figures.has_looked(share.broker):
                raise
            log.exception("%s: the broker cannot be looked at", share.name)
        figures.missed(share.broker)
        await asyncio.sleep(every)
