"""The verbs of `waybill`, put together. What a verb needs to do its work is imported when it is called."""

from __future__ import annotations

import typer

from waybill.cli import backlog, redriving, run, topology
from waybill.cli.backup import backup
from waybill.cli.deadletters import group as dead_letters
from waybill.cli.explain import explain
from waybill.cli.publish import publish

__all__ = ["program"]

program = typer.Typer(
    name="waybill",
    help="Run and operate applications written with Waybill.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use or drift.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
program.command("run", epilog="Example: waybill run service:app --workers 4")(run.run)
program.command("publish", epilog="""Example: waybill publish orders.placed --data '{"order_id": "A-1"}'""")(publish)
program.command("explain", epilog="Example: waybill explain --app service:app")(explain)
program.command("backlog", epilog="Example: waybill backlog --watch 5")(backlog.backlog)
program.command("backup", epilog="Example: waybill backup bus-2024-06-01.db --url sqlite:///bus.db")(backup)
program.add_typer(topology.group, name="topology")
program.add_typer(dead_letters, name="dlq")
dead_letters.command("redrive", epilog="Example: waybill dlq redrive --topic orders.placed --rate 50 --yes")(
    redriving.redrive
)
dead_letters.command("discard", epilog="Example: waybill dlq discard --older-than 30d --reason-text 'too late' --yes")(
    redriving.discard
)
dead_letters.command("export", epilog="Example: waybill dlq export --topic orders.placed --to letters.jsonl")(
    redriving.export
)
