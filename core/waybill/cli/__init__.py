"""The program `waybill`. Needs the extra `cli`: typer and rich."""

from __future__ import annotations

import importlib
import sys

from waybill.errors import ConfigurationError, WaybillError

__all__ = ["main", "report"]


def main() -> int:
    """Run the command line. Returns or exits with 0 (done), 1 (failed) or 2 (wrong use)."""
    try:
        importlib.import_module("rich")
        importlib.import_module("typer")
    except ImportError:
        print("The command line needs its extra. Install it with: pip install 'waybill[cli]'", file=sys.stderr)  # noqa: T201
        return 2
    from waybill.cli.program import program  # noqa: PLC0415

    try:
        program(prog_name="waybill")
    except WaybillError as error:
        return report(error)
    return 0


def report(error: WaybillError) -> int:
    """Print the error as one line and give the exit code it means: 2 for wrong use, 1 for what failed."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201 - a program's output
    return 2 if isinstance(error, ConfigurationError) else 1
