"""The verbs of `waybill registry`, put together."""

from __future__ import annotations

import typer

from waybill_schema_registry.cli.serve import password, serve
from waybill_schema_registry.cli.transfer import export, import_

__all__ = ["verbs"]

verbs = typer.Typer()

verbs.command(
    "serve",
    epilog="Example: waybill registry serve --store sqlite:///registry.db --port 8081\n\n"
    "Example: waybill registry serve --store postgresql://registry@db/registry --workers 2 --users users.toml\n\n"
    "Exit codes: 0 ended as told, 1 failed, 2 wrong use.",
)(serve)
verbs.command(
    "password",
    epilog="Example: waybill registry password --token\n\nExit codes: 0 done, 1 failed.",
)(password)
verbs.command(
    "export",
    epilog="Example: waybill registry export schemas.jsonl --store sqlite:///registry.db\n\n"
    "Exit codes: 0 the dump is whole, 1 failed, 2 wrong use.",
)(export)
verbs.command(
    "import",
    epilog="Example: waybill registry import dump.txt --store sqlite:///registry.db --dry-run\n\n"
    "Exit codes: 0 all of it is there, 1 failed, 2 wrong use.",
)(import_)
