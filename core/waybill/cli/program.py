"""The verbs of `waybill`, put together. What a verb needs to do its work is imported when it is called."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from waybill.cli import adr, backlog, circuit, replaying, run, topology
from waybill.cli.backup import backup
from waybill.cli.doctor import doctor, installed
from waybill.cli.explain import explain
from waybill.cli.exporter import exporter
from waybill.cli.further import Verbs, late
from waybill.cli.probe import probe
from waybill.cli.publish import publish

__all__ = ["program"]

program = typer.Typer(
    name="waybill",
    cls=Verbs,
    help="Run and operate applications written with Waybill.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use or drift.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool) -> None:
    """The callback of `--version`: print it and leave."""
    if wanted:
        sys.stdout.write(f"waybill {installed('waybill') or 'of unknown version: it is not installed'}\n")
        raise typer.Exit


@program.callback()
def every_verb(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What may stand before a verb."""
    del version  # its callback has shown it


program.command(
    "run",
    epilog="Example: waybill run service:app --workers 4\n\nExample: waybill run service:app --dev --reload\n\n"
    "Exit codes: 0 ended as told, 1 a worker failed or was killed while ending, 2 configured wrongly, 128 + the signal's "
    "number after a second one.",
)(run.run)
program.command(
    "publish",
    epilog="""Example: waybill publish orders.placed --data '{"order_id": "A-1"}'\n\n"""
    "Example: waybill publish orders.placed --from orders.jsonl --skip-bad\n\n"
    "Exit codes: 0 all published, 1 not all, 2 wrong use.",
)(publish)
program.command("explain", epilog="Example: waybill explain --app service:app")(explain)
program.command(
    "backup",
    epilog="Example: waybill backup bus-2024-06-01.db --url sqlite:///bus.db\n\nExit codes: 0 the copy is whole, 1 failed, 2 wrong use.",
)(backup)
program.add_typer(topology.group, name="topology")
program.command("backlog", epilog="Example: waybill backlog --watch 5")(backlog.backlog)
program.add_typer(circuit.group, name="circuit")
program.command(
    "probe",
    epilog="Example: waybill probe --live --status-dir /run/waybill\n\nExit codes: 0 yes, 1 no, 2 wrong use.",
)(probe)
program.command(
    "exporter",
    epilog="Example: waybill exporter --app service:app --listen 0.0.0.0:9464\n\nExit codes: 0 ended as told, 2 wrong use.",
)(exporter)
program.add_typer(
    typer.Typer(
        cls=late("waybill.cli.dlq"), help="Dead letters: what could not be handled, and why.", no_args_is_help=True
    ),
    name="dlq",
)
program.add_typer(adr.group, name="adr")
program.command(
    "replay",
    epilog="Example: waybill replay orders.placed --since 2h --rate 100 --yes\n\n"
    "Example: waybill replay orders.placed --into shadows:compare --key customer-7 --yes\n\n"
    "Exit codes: 0 all handled, 1 not all, 2 wrong use.",
)(replaying.replay)
program.command(
    "seek",
    epilog="Example: waybill seek orders.placed --group billing --since 2026-11-20T08:00:00Z --yes\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong use.",
)(replaying.seek)
program.command(
    "doctor",
    epilog="Example: waybill doctor --app service:app\n\nExit codes: 0 no trouble, 1 trouble, 2 wrong use.",
)(doctor)
