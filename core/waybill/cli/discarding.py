"""`waybill dlq discard`: dead letters away for good. Without `--yes` nothing is taken or changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from waybill import redrive as core
from waybill.cli import options
from waybill.cli.bench import Ask
from waybill.cli.choosing import By, Filter, Place, by_whom, states_of
from waybill.cli.letters import Wanted
from waybill.cli.moving import Account, foretell
from waybill.cli.redriving import operate
from waybill.cli.run import configure_logging
from waybill.cli.spread import spread
from waybill.errors import ConfigurationError
from waybill.message import Message
from waybill.redrive import Discarded

if TYPE_CHECKING:
    from waybill.adapter import Adapter
    from waybill.topology import Subscription

__all__ = ["discard"]


@spread
def discard(
    *,
    reason_text: Annotated[str, typer.Option("--reason-text", metavar="WHY", help="Why, for those who look for them.")],
    place: Place,
    chosen: Filter,
    limit: options.Oldest = None,
    by: By = None,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Remove dead letters for good: `dlq export` keeps a copy. A dry run without --yes.

    Each id is written down with the reason: in the audit of the index, or in the log on stderr where there is no index.
    """
    from waybill.dlq.operation import Orders  # noqa: PLC0415 - `waybill --help` need not load it

    if not reason_text.strip():
        raise ConfigurationError("--reason-text: say why these dead letters are discarded")
    place.check_audit(by)
    wanted = chosen.wanted()
    if place.has_index():
        orders = Orders(limit=limit, expired=True, force=True)
        query = chosen.query(states_of(None))
        ask = Ask(verb="discard", wanted=wanted, query=query, orders=orders, by=by_whom(by), why=reason_text)
        operate(place, ask, yes=yes, as_json=as_json)
    elif not yes:
        foretell(place.open(), wanted, limit, as_json=as_json, again=False)
    else:
        _plainly(place, wanted, limit, reason_text, as_json=as_json)


def _plainly(place: Place, wanted: Wanted, limit: int | None, why: str, *, as_json: bool) -> None:
    async def do(
        adapter: Adapter,
        subscription: Subscription,
        takes: Callable[[Message], bool],
        room: int | None,
        note: Callable[[Discarded], None],
    ) -> Discarded:
        return await core.discard(adapter, subscription, takes, reason=why, limit=room, on_progress=note)

    configure_logging()
    account = Account(do, logged=True)
    account.run(place.open(), wanted, limit)
    account.tell(as_json=as_json)
