"""The verbs of `waybill schema`, put together."""

from __future__ import annotations

import typer

from waybill_schema_registry.cli.check import check
from waybill_schema_registry.cli.diff import diff
from waybill_schema_registry.cli.generate import generate
from waybill_schema_registry.cli.governing import delete, level, mode
from waybill_schema_registry.cli.looking import history, list_subjects, show
from waybill_schema_registry.cli.register import register

__all__ = ["verbs"]

verbs = typer.Typer()
CODES = "Exit codes: 0 done, 1 failed, 2 wrong use."

verbs.command(
    "check",
    epilog="Example: waybill schema check --app service:app --registry http://localhost:8081\n\n"
    "Example: waybill schema check schemas/ --against origin/main --format github\n\n"
    "Exit codes: 0 nothing breaks, 1 something does or nobody could be asked, 2 wrong use.",
)(check)
verbs.command(
    "register",
    epilog="Example: waybill schema register --app service:app --registry http://localhost:8081\n\n"
    "Example: waybill schema register schemas/ --dry-run\n\n"
    "Exit codes: 0 all are registered, 1 a contract breaks its promise or the registry refused, 2 wrong use.",
)(register)
verbs.command("diff", epilog=f"Example: waybill schema diff --app service:app --against origin/main\n\n{CODES}")(diff)
verbs.command("list", epilog=f"Example: waybill schema list --prefix orders.\n\n{CODES}")(list_subjects)
verbs.command("show", epilog=f"Example: waybill schema show orders.placed-value --version 3\n\n{CODES}")(show)
verbs.command("history", epilog=f"Example: waybill schema history orders.placed-value\n\n{CODES}")(history)
verbs.command(
    "generate",
    epilog="Example: waybill schema generate schemas/ --out contracts.py\n\n"
    f"Example: waybill schema generate --subject orders.placed-value\n\n{CODES}",
)(generate)
verbs.command(
    "level",
    epilog="Example: waybill schema level orders.placed-value\n\n"
    f"Example: waybill schema level orders.placed-value FULL_TRANSITIVE\n\n{CODES}",
)(level)
verbs.command("mode", epilog=f"Example: waybill schema mode orders.placed-value READONLY\n\n{CODES}")(mode)
verbs.command(
    "delete",
    epilog="Example: waybill schema delete orders.placed-value --version 2 --yes\n\n"
    f"Example: waybill schema delete orders.placed-value --permanent --yes\n\n{CODES}",
)(delete)
