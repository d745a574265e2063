"""`waybill dlq redrive`: dead letters back to the group they failed in. Without `--yes` nothing is taken or changed.

Where there is an index it is an operation: planned, claimed, tried with a few, counted, and gone on with after a crash. Where there
is none, letters are sent as they are found.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
import typer

from waybill import redrive as core
from waybill.cli import options
from waybill.cli.bench import Ask, Bench, Planned, bench_of, plans
from waybill.cli.choosing import By, Filter, Place, Why, action, by_whom, states_of
from waybill.cli.foretelling import foretell, warn
from waybill.cli.letters import not_empty
from waybill.cli.moving import Account, Do
from waybill.cli.moving import foretell as foretell_plainly
from waybill.cli.operating import Carried
from waybill.cli.operations import show_operations
from waybill.cli.spread import spread
from waybill.cli.survey import command
from waybill.errors import ConfigurationError, WaybillError
from waybill.message import Message
from waybill.redrive import Redriven

if TYPE_CHECKING:
    from waybill.adapter import Adapter
    from waybill.dlq.model import Action
    from waybill.dlq.operation import Operation, Orders
    from waybill.topology import Subscription

__all__ = ["operate", "redrive"]

Rate: TypeAlias = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", min=0.001, help="Letters a second at most; without, as fast as the broker."),
]
Native: TypeAlias = Annotated[
    bool, typer.Option("--native", help="Have the broker itself move all there are, unread, where it can.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What an index makes possible."""

    canary: Annotated[
        int, typer.Option("--canary", metavar="N", min=0, help="Send so many first, the others when these are handled.")
    ] = 0
    patience: Annotated[
        float | None,
        typer.Option("--patience", metavar="SECONDS", min=0, help="How long the canary may take; else 60."),
    ] = None
    ahead: Annotated[
        int | None,
        typer.Option("--ahead", metavar="N", min=1, help="Pause while so many messages lie before the group."),
    ] = None
    abort_above: Annotated[
        float | None,
        typer.Option(
            "--abort-above", metavar="SHARE", min=0.001, max=1, help="End it when more of them come back; else 0.2."
        ),
    ] = None
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="PLACE", callback=not_empty, help="Elsewhere: TOPIC/GROUP, or TOPIC for all of its groups."
        ),
    ] = None
    expired: Annotated[
        bool, typer.Option("--expired", help="Also those whose time is over; their copies do not expire.")
    ] = False
    force: Annotated[
        bool, typer.Option("--force", help="Also those that came back too often, or that nobody can read.")
    ] = False
    why: Why = None
    by: By = None

    @property
    def special(self) -> bool:
        """Whether it asks for what an operation is begun with, and nothing else has."""
        return bool(self.canary or self.ahead or self.to or self.expired or self.force)

    @property
    def of_operations(self) -> bool:
        """Whether it asks for what only an operation has, but for `by` and `why`."""
        return self.special or self.patience is not None or self.abort_above is not None


@spread
def redrive(
    *,
    place: Place,
    chosen: Filter,
    how: How,
    limit: options.Oldest = None,
    rate: Rate = None,
    native: Native = False,
    resume: Annotated[str | None, typer.Option("--resume", metavar="ID", help="Go on with this operation.")] = None,
    past_canary: Annotated[
        bool, typer.Option("--past-canary", help="With --resume: though the canary is not decided yet.")
    ] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Send dead letters to the group they failed in once more; other groups see nothing. A dry run without --yes.

    Ids stay, attempts begin anew. A letter goes once its copy is confirmed: a crash may make two of it, never none.

    With an index, which `dlq collect` makes, it is an operation: it can be resumed after a crash, at another --rate,
    --patience or --abort-above; it ends when more than a fifth come back, for whatever reason; and it is told how many
    were handled.

    Ctrl-C ends it in order: what has not been sent stays among the dead letters.
    """
    wanted = chosen.wanted()
    if native:
        _check_native(chosen, how, limit, resume)
    place.check_audit(how.by, how.why)
    if past_canary and resume is None:
        raise ConfigurationError("--past-canary goes on with an operation: name it with --resume")
    if resume is not None:
        if chosen.chooses or how.special or how.why or how.by or limit is not None:
            raise ConfigurationError(
                "--resume goes on with an operation as it was begun: leave the other options out, but for --rate, --patience and "
                "--abort-above"
            )
        _resume(place, _otherwise(how, rate), resume, past_canary=past_canary, yes=yes, as_json=as_json)
    elif place.has_index() and not native:
        ask = Ask(
            verb="redrive", wanted=wanted, query=chosen.query(states_of(None)), orders=_orders(how, limit, rate),
            by=by_whom(how.by), to=how.to or "", why=how.why or "",
        )  # fmt: skip
        operate(place, ask, yes=yes, as_json=as_json)
    elif how.of_operations:
        raise ConfigurationError(
            "--canary, --patience, --abort-above, --ahead, --to, --expired and --force need the index, which `waybill dlq "
            "collect` makes"
        )
    elif not yes:
        foretell_plainly(place.open(), wanted, limit, as_json=as_json, again=True)
    else:
        account = Account(_moving(place, how, rate) if native else _sending(rate))
        account.run(place.open(), wanted, limit)
        account.tell(as_json=as_json)


def operate(place: Place, ask: Ask, *, yes: bool, as_json: bool) -> None:
    """Say what would be done, or do it."""

    async def look() -> list[Planned]:
        async with bench_of(place) as bench:
            return await plans(bench, ask)

    if not yes:
        foretell(asyncio.run(look()), as_json=as_json)
        return

    async def begin(bench: Bench) -> AsyncGenerator[tuple[Operation, int | None], None]:
        made = await plans(bench, ask)
        warn(made)
        carried.leaves(sum(planned.plan.left for planned in made))
        for planned in made:
            if planned.plan.count:
                yield bench.begin(ask, planned), planned.plan.count

    carried = Carried(place)
    carried.do(begin)
    carried.tell(as_json=as_json)


def _orders(how: How, limit: int | None, rate: float | None) -> Orders:
    from waybill.dlq.operation import Orders  # noqa: PLC0415 - `waybill --help` need not load it

    orders = Orders(limit=limit, expired=how.expired, force=how.force, canary=how.canary, ahead=how.ahead)
    return msgspec.structs.replace(orders, **_otherwise(how, rate))


def _otherwise(how: How, rate: float | None) -> dict[str, float]:
    """What is given of the orders that may be others when it is gone on with."""
    given = {"rate": rate, "patience": how.patience, "abort_above": how.abort_above}
    return {name: value for name, value in given.items() if value is not None}


def _resume(
    place: Place, otherwise: dict[str, float], beginning: str, *, past_canary: bool, yes: bool, as_json: bool
) -> None:
    from waybill.cli.screen import tell  # noqa: PLC0415 - `waybill --help` need not load it

    if not yes:
        show_operations(place, beginning, as_json=as_json)
        tell(f"a dry run, nothing was changed. To go on: {command()}")
        return

    async def begin(bench: Bench) -> AsyncGenerator[tuple[Operation, int | None], None]:
        yield bench.operations.get(beginning), None

    carried = Carried(place, past_canary=past_canary, otherwise=otherwise)
    carried.do(begin)
    carried.tell(as_json=as_json)


def _check_native(chosen: Filter, how: How, limit: int | None, resume: str | None) -> None:
    plain = Filter(topic=chosen.topic, group=chosen.group)
    if limit is not None or resume is not None or chosen != plain or how.of_operations:
        raise ConfigurationError("--native: the broker moves all letters of a group: name --topic and --group at most")


def _sending(rate: float | None) -> Do[Redriven]:
    async def do(
        adapter: Adapter,
        subscription: Subscription,
        takes: Callable[[Message], bool],
        room: int | None,
        note: Callable[[Redriven], None],
    ) -> Redriven:
        return await core.redrive(adapter, subscription, takes, rate=rate, limit=room, on_progress=note)

    return do


def _moving(place: Place, how: How, rate: float | None) -> Do[Redriven]:
    """By the broker itself, which chooses none: not while an operation may have letters there that it has sent already."""

    async def do(
        adapter: Adapter,
        subscription: Subscription,
        _takes: Callable[[Message], bool],
        _room: int | None,
        note: Callable[[Redriven], None],
    ) -> Redriven:
        so_far, begun = Redriven(), True

        def noted(result: Redriven) -> None:
            nonlocal so_far
            so_far = result
            note(result)

        if not place.has_index():
            return await core.move(adapter, subscription, rate=rate, on_progress=note)
        _check_free(place, subscription)
        try:
            return await core.move(adapter, subscription, rate=rate, on_progress=noted)
        except ConfigurationError:  # it cannot
            begun = False
            raise
        finally:
            if begun:
                _note(place, subscription, action(how.by, how.why), so_far.sent)

    return do


def _note(place: Place, subscription: Subscription, who: Action, count: int) -> None:
    topic, group = subscription.topic.name, subscription.group
    with place.index() as index:
        index.note("move", who, topic=topic, group=group, count=count, now=datetime.now(UTC))


def _check_free(place: Place, subscription: Subscription) -> None:
    from waybill.dlq.operations import Operations  # noqa: PLC0415 - `waybill --help` need not load it

    with place.index() as index:
        for operation in Operations(index).undecided():
            if operation.name == subscription.name and operation.under_way:
                raise WaybillError(
                    f"operation {operation.id} is about {subscription.name}: let it end, or cancel it, before the broker moves "
                    f"all there are (`waybill dlq operations`)"
                )
