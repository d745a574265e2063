"""`waybill dlq review`: whether each dead letter was looked at in time, by the rule book of the setting `dlq_policy`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waybill.cli import options
from waybill.cli.bench import bench_of
from waybill.cli.choosing import Place
from waybill.cli.letters import groups
from waybill.cli.spread import spread

if TYPE_CHECKING:
    from waybill.dlq.index import Index
    from waybill.dlq.policy import Policy

__all__ = ["review"]

COLUMNS = ("topic/group", "unresolved", "triaged", "under way", "oldest", "within", "state", "owner")
ABOVE = 6
NUMBERS = ("unresolved", "triaged", "under way", "oldest", "within")
LATE = "OVERDUE"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the review of one group's dead letters is. `late`: those that nobody has looked at in time."""

    name: str
    unresolved: int
    triaged: int
    under_way: int
    oldest: timedelta | None
    within: timedelta
    owner: str
    late: int

    def row(self) -> list[str]:
        from waybill.cli.screen import age  # noqa: PLC0415 - `waybill --help` need not load it

        oldest = "-" if self.oldest is None else age(self.oldest.total_seconds())
        within = age(self.within.total_seconds())
        state = f"{self.late} {LATE}" if self.late else "in time"
        figures = (self.unresolved, self.triaged, self.under_way)
        return [self.name, *map(str, figures), oldest, within, state, self.owner or "-"]

    def as_object(self) -> dict[str, Any]:
        topic, _, group = self.name.rpartition("/")
        return {
            "topic": topic,
            "group": group,
            "unresolved": self.unresolved,
            "triaged": self.triaged,
            "under_way": self.under_way,
            "oldest_seconds": None if self.oldest is None else round(self.oldest.total_seconds(), 3),
            "within_seconds": self.within.total_seconds(),
            "owner": self.owner,
            "overdue": self.late,
        }


@spread
def review(
    *,
    place: Place,
    fail_overdue: Annotated[bool, typer.Option("--fail-overdue", help="Exit with 1 if any is overdue.")] = False,
    as_seen: Annotated[bool, typer.Option("--as-seen", help="Ask the index alone, and not the brokers first.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show how far the review of dead letters is, and which of them nobody has looked at in time.

    The rules are in the file of the setting `dlq_policy`; without it, a dead letter may wait 24 hours.
    """
    from waybill.cli.screen import document, table, tell  # noqa: PLC0415 - `waybill --help` need not load it

    policy = place.policy()
    with place.index() as index:
        if not as_seen:
            asyncio.run(_collect(place))
        found = _standings(index, policy)
    if as_json:
        document([standing.as_object() for standing in found])
    else:
        table(COLUMNS, [standing.row() for standing in found], numbers=NUMBERS, beneath=COLUMNS[ABOVE:])
    late = sum(standing.late for standing in found)
    if late and not as_json:
        tell(
            f"{late} dead letters are overdue: `waybill dlq groups` shows of what they died, `dlq triage` says who cares"
        )
    if late and fail_overdue:
        raise typer.Exit(1)


async def _collect(place: Place) -> None:
    from waybill.dlq.collecting import collect  # noqa: PLC0415 - `waybill --help` need not load it

    async with bench_of(place) as bench:
        for subscription in await groups(bench.app, bench.brokers.admin):
            await collect(bench.brokers.admin, subscription, bench.index)


def _standings(index: Index, policy: Policy) -> Sequence[Standing]:
    """Of each group that has letters somebody has to do something about; the longest overdue first."""
    from waybill.dlq.model import OPEN, State  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.dlq.policy import overdue  # noqa: PLC0415

    now = datetime.now(UTC)
    late = {(each.topic, each.group): each for each in overdue(index, policy, now)}
    found: list[Standing] = []
    for place, tally in sorted(index.tally().items(), key=lambda item: (item[0] not in late, item[0])):
        if not any(tally.get(state) for state in OPEN):
            continue
        rules = policy.of(*place)
        oldest = index.oldest(*place)
        found.append(
            Standing(
                name="/".join(place),
                unresolved=tally.get(State.UNRESOLVED, 0),
                triaged=tally.get(State.TRIAGED, 0),
                under_way=tally.get(State.REDRIVING, 0) + tally.get(State.PENDING, 0),
                oldest=None if oldest is None else now - oldest,
                within=rules.service_level,
                owner=rules.owner,
                late=late[place].count if place in late else 0,
            )
        )
    return found
