"""What an operation would do, said before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from waybill.cli.bench import Planned
from waybill.cli.letters import NONE
from waybill.cli.survey import command

if TYPE_CHECKING:
    from waybill.dlq.planning import Plan

__all__ = ["foretell", "warn"]

COLUMNS = ("topic/group", "letters", "oldest", "takes", "to", "reasons")
NUMBERS = ("letters", "oldest", "takes")
ABOVE = 4


def foretell(made: Sequence[Planned], *, as_json: bool) -> None:
    """Show what would be done and left, and what speaks against it."""
    from waybill.cli.screen import document, table, tell  # noqa: PLC0415 - `waybill --help` need not load it

    now = datetime.now(UTC)
    found = [planned.plan for planned in made if planned.plan.found]
    if as_json:
        document([_object(plan, now) for plan in found])
        return
    if not found:
        tell(NONE)
        return
    table(COLUMNS, [_row(plan, now) for plan in found], numbers=NUMBERS, beneath=COLUMNS[ABOVE:])
    warn(made)
    if beyond := sum(plan.beyond for plan in found):
        tell(f"{beyond} more are beyond --limit")
    total = sum(plan.count for plan in found)
    tell(f"a dry run, nothing was changed. To do it: {command()}" if total else "none of them would be moved")


def warn(made: Sequence[Planned]) -> None:
    """What speaks against it, and what is left."""
    from waybill.cli.screen import safe, tell  # noqa: PLC0415 - `waybill --help` need not load it

    for planned in made:
        if not planned.plan.found:
            continue
        for warning in planned.plan.warnings:
            tell(f"{planned.subscription.name}: {safe(warning)}")


def _row(plan: Plan, now: datetime) -> list[str]:
    from waybill.cli.screen import age  # noqa: PLC0415 - `waybill --help` need not load it

    own = f"{plan.topic}/{plan.group}"
    reasons = sorted(plan.reasons.items(), key=lambda pair: -pair[1])
    return [
        own,
        str(plan.count),
        "-" if plan.oldest is None else age((now - plan.oldest).total_seconds()),
        "-" if plan.seconds is None else age(plan.seconds),
        "-" if plan.to in {"", own} else f"to {plan.to}",
        ", ".join(f"{reason} {count}" for reason, count in reasons),
    ]


def _object(plan: Plan, now: datetime) -> dict[str, Any]:
    oldest = None if plan.oldest is None else round((now - plan.oldest).total_seconds(), 3)
    figures: dict[str, Any] = msgspec.to_builtins(plan)
    return {"dry_run": True, "letters": figures.pop("count"), "oldest_seconds": oldest, **figures}
