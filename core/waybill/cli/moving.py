"""Doing to each group's dead letters what `redrive` and `discard` do: what is foretold, what is counted, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec
import typer

from waybill.cli.letters import NONE, Letter, Wanted, resolve, select
from waybill.cli.survey import Survey, command, survey
from waybill.errors import WaybillError
from waybill.message import Message
from waybill.redrive import Discarded, Redriven

if TYPE_CHECKING:
    from waybill.adapter import Adapter
    from waybill.app import App
    from waybill.topology import Subscription

__all__ = ["Account", "foretell"]

R = TypeVar("R", Redriven, Discarded)

Do: TypeAlias = Callable[
    ["Adapter", "Subscription", Callable[[Message], bool], int | None, Callable[[R], None]], Awaitable[R]
]
Show: TypeAlias = Callable[[float, str], None]


def foretell(app: App, wanted: Wanted, limit: int | None, *, as_json: bool, again: bool) -> None:
    """A dry run. `again`: they would be handled once more."""
    from waybill.cli.screen import age, document, table, tell  # noqa: PLC0415 - `waybill --help` need not load it

    async def look() -> Survey:
        async with app.admin() as admin:
            subscriptions = await select(app, admin, wanted)
            return await survey(admin, subscriptions, await resolve(admin, subscriptions, wanted), limit)

    found = asyncio.run(look())
    now = datetime.now(UTC)
    if as_json:
        document([kind.as_object(now) for kind in found.kinds])
        return
    rows = [
        [
            kind.subscription.topic.name,
            kind.subscription.group,
            kind.reason,
            str(kind.count),
            age((now - kind.oldest).total_seconds()),
        ]
        for kind in found.kinds
    ]
    table(["topic", "group", "reason", "letters", "oldest"], rows, numbers=["letters", "oldest"])
    for warning in found.warnings() if again else ():
        tell(warning)
    if not found.complete:
        tell("the broker could not show all of them now: others hold some")
    if found.found > found.total:
        tell(f"{found.total} of {found.found}: --limit leaves the others")
    tell(f"a dry run, nothing was changed. To do it: {command()}" if found.total else NONE)


class Account(Generic[R]):
    """What has become of each group's dead letters so far, also when it is interrupted or fails.

    `do`: what is done to one group's: those wanted, at most so many, telling how far it is. `logged`: it writes a line for
    each letter, so that a bar would be in its way.
    """

    def __init__(self, do: Do[R], *, logged: bool = False) -> None:
        self._do: Do[R] = do
        self._logged = logged
        self._results: dict[str, tuple[Subscription, R]] = {}
        self._interrupted = False
        self._error: WaybillError | None = None

    def run(self, app: App, wanted: Wanted, limit: int | None) -> None:
        """Group after group. Ctrl-C ends it in order, and so does what fails; `tell` tells."""
        try:
            asyncio.run(self._run(app, wanted, limit))
        except KeyboardInterrupt:
            self._interrupted = True
        except WaybillError as error:
            self._error = error

    async def _run(self, app: App, wanted: Wanted, limit: int | None) -> None:
        from waybill.cli.progress import bar  # noqa: PLC0415 - `waybill --help` need not load it

        async with app.connected() as brokers:
            subscriptions = await select(app, brokers.admin, wanted)
            wanted = await resolve(brokers.admin, subscriptions, wanted)
            found = await survey(brokers.admin, subscriptions, wanted, limit)
            with bar(found.total, _beside(0), hidden=self._logged) as show:
                for subscription in dict.fromkeys(kind.subscription for kind in found.kinds):
                    room = None if limit is None else limit - self._moved()
                    if room is None or room > 0:
                        await self._one(brokers.of(subscription.topic), subscription, wanted, room, show)

    async def _one(
        self, adapter: Adapter, subscription: Subscription, wanted: Wanted, room: int | None, show: Show
    ) -> None:
        def takes(message: Message) -> bool:
            return wanted.takes(Letter.of(subscription, message))

        def note(result: R) -> None:
            self._results[subscription.name] = subscription, result
            show(self._moved(), _beside(self._moved()))

        note(await self._do(adapter, subscription, takes, room, note))

    def _moved(self) -> int:
        return sum(_moved(result) for _, result in self._results.values())

    def tell(self, *, as_json: bool) -> None:
        """A line for each group, or a document. Raises what it failed with, and leaves with 1 where some were not moved."""
        from waybill.cli.screen import document, line, safe, tell  # noqa: PLC0415 - `waybill --help` need not load it

        results = list(self._results.values())
        if as_json:
            document([_object(subscription, result) for subscription, result in results])
        for subscription, result in () if as_json else results:
            line(safe(f"{subscription.name}: {_words(result)}"))
        if self._error is not None:
            raise self._error
        if self._interrupted:
            tell("interrupted: the others are dead letters still")
        elif not results and not as_json:
            line(NONE)
        if self._interrupted or not all(_is_whole(result) for _, result in results):
            raise typer.Exit(1)


def _beside(moved: int) -> str:
    return f"{moved} so far"


def _moved(result: Redriven | Discarded) -> int:
    if isinstance(result, Redriven):
        return result.sent + result.refused + result.unknown
    return result.discarded + result.unremoved


def _is_whole(result: Redriven | Discarded) -> bool:
    if isinstance(result, Redriven) and (result.refused or result.unknown or result.gave_up):
        return False
    return not result.unremoved


def _words(result: Redriven | Discarded) -> str:
    if isinstance(result, Discarded):
        rest = f", {result.unremoved} may be there still" if result.unremoved else ""
        return f"{result.discarded} discarded{rest}"
    words = [f"{result.sent} redriven"]
    if result.unremoved:
        words.append(f"{result.unremoved} of them may be dead letters still, and come twice if redriven again")
    if result.refused:
        words.append(f"{result.refused} refused")
    if result.unknown:
        words.append(f"{result.unknown} unknown, which may come twice if redriven again")
    if result.gave_up:
        words.append("gave up and left the others")
    return "; ".join(words) + (f" ({result.cause})" if result.cause else "")


def _object(subscription: Subscription, result: Redriven | Discarded) -> dict[str, Any]:
    place = {"dry_run": False, "topic": subscription.topic.name, "group": subscription.group}
    names = {"sent": "redriven"}
    return {**place, **{names.get(name, name): value for name, value in msgspec.structs.asdict(result).items()}}
