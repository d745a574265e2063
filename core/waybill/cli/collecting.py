"""`waybill dlq collect`: what the brokers have of dead letters, brought to the index."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from waybill.cli import options
from waybill.cli.bench import Bench, bench_of
from waybill.cli.choosing import Place
from waybill.cli.letters import Wanted, select
from waybill.cli.spread import spread
from waybill.errors import BrokerError, BrokerUnavailable, WaybillError

if TYPE_CHECKING:
    from waybill.dlq.index import Index
    from waybill.dlq.model import Recorded
    from waybill.dlq.policy import Policy
    from waybill.topology import Subscription

__all__ = ["collect"]

COLUMNS = ("topic/group", "new", "came back", "known", "gone", "resolved")
NUMBERS = COLUMNS[1:]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a group's dead letters has brought. `resolved`: letters that were sent back and have been handled."""

    name: str
    found: Recorded
    resolved: int
    complete: bool

    @property
    def figures(self) -> tuple[int, ...]:
        """As the columns."""
        found = self.found
        return found.new, found.back, found.known, found.gone, self.resolved

    @property
    def news(self) -> bool:
        return any((self.found.new, self.found.back, self.found.gone, self.resolved))

    def row(self) -> list[str]:
        return [self.name, *map(str, self.figures)]

    def in_words(self) -> str:
        parts = (f"{count} {name}" for name, count in zip(NUMBERS, self.figures, strict=True) if count)
        return f"{self.name}: {', '.join(parts)}"

    def as_object(self) -> dict[str, Any]:
        topic, _, group = self.name.rpartition("/")
        figures = zip(("new", "back", "known", "gone", "resolved"), self.figures, strict=True)
        return {"topic": topic, "group": group, **dict(figures), "complete": self.complete}


@spread
def collect(
    *,
    place: Place,
    topic: options.TopicName = None,
    group: options.Group = None,
    every: Annotated[
        float | None, typer.Option("--every", metavar="SECONDS", min=0.1, help="Again and again, until Ctrl-C.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Bring what the brokers have of dead letters to the index, which is made if there is none. Takes none away.

    It also finds out what has become of letters that were sent back, dead once more or resolved; and what is done with for
    longer than the rules of `dlq_policy` want it remembered is forgotten.

    What is wrong with one group is told when the others are collected; with --every it is no reason to end.

    The file is that of the setting `dlq`, else waybill-dlq.db here. With --every, a line for each look that has found something;
    a document a line with --json.
    """
    try:
        asyncio.run(_again(place, topic, group, every, as_json=as_json))
    except KeyboardInterrupt:
        if every is None:
            raise


async def _again(place: Place, topic: str | None, group: str | None, every: float | None, *, as_json: bool) -> None:
    from waybill.cli.screen import tell  # noqa: PLC0415 - `waybill --help` need not load it

    loop, policy = asyncio.get_running_loop(), place.policy()
    async with bench_of(place, create=True) as bench:
        while True:
            start = loop.time()
            found, errors = await _looks(bench, Wanted(topic=topic, group=group), policy)
            if found or not errors:
                _show(found, as_json=as_json, again=every is not None)
            for error in errors[1:] if every is None else errors:
                tell(str(error))  # with --every it is no reason to end: the next look may find it over
            if every is None and errors:
                raise errors[0]
            if every is None:
                return
            await asyncio.sleep(max(0.0, start + every - loop.time()))


async def _looks(bench: Bench, wanted: Wanted, policy: Policy) -> tuple[list[Look], list[WaybillError]]:
    """At all groups. What is wrong with one keeps nobody from the others, but for those of a broker that does not answer."""
    found: list[Look] = []
    errors: list[WaybillError] = []
    silent: set[str | None] = set()
    try:
        for subscription in await select(bench.app, bench.brokers.admin, wanted):
            if subscription.topic.broker in silent:
                continue
            try:
                found.append(await _look(bench, subscription))
            except BrokerUnavailable as error:
                silent.add(subscription.topic.broker)
                errors.append(error)
            except WaybillError as error:
                errors.append(error)
        await asyncio.to_thread(_forget, bench.index, policy)
    except BrokerError as error:
        errors.append(error)
    return found, errors


async def _look(bench: Bench, subscription: Subscription) -> Look:
    from waybill.dlq.collecting import collect  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.dlq.watching import see  # noqa: PLC0415

    admin, index, resolved = bench.brokers.admin, bench.index, 0
    if bench.undecided(subscription):
        seen = await see(admin, subscription, index)
        letters, resolved = seen.letters, await bench.decide(subscription, seen)
    else:
        letters = await collect(admin, subscription, index)
    return Look(subscription.name, letters.found, resolved, letters.complete)


def _forget(index: Index, policy: Policy) -> None:
    """What is done with, and was so for longer than its group's rules want it remembered."""
    for place in index.tally():
        while index.forget(*place, before=datetime.now(UTC) - policy.of(*place).retention):
            pass


def _show(found: Sequence[Look], *, as_json: bool, again: bool) -> None:
    from waybill.cli.screen import document, line, safe, table, tell  # noqa: PLC0415 - `waybill --help` need not load it

    if again:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for look in found:
            if as_json:
                line(msgspec.json.encode({"at": now, **look.as_object()}).decode())
            elif look.news:
                line(safe(f"{now}  {look.in_words()}"))
        sys.stdout.flush()
    elif as_json:
        document([look.as_object() for look in found])
    else:
        table(COLUMNS, [look.row() for look in found], numbers=NUMBERS)
    for look in found:
        if not look.complete:
            tell(f"{look.name}: the broker could not show all of them now: others hold some")
