"""`waybill replay` and `waybill seek`: what a topic has kept, once more. Without `--yes` nothing is handled or moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from waybill.cli import options, stretches
from waybill.cli.application import choose_app, find_topic, load_handler, reference_of
from waybill.cli.run import configure_logging
from waybill.cli.survey import command
from waybill.errors import ConfigurationError
from waybill.history import Stretch
from waybill.message import Message
from waybill.replaying import Replayed, history_of
from waybill.topic import Topic
from waybill.topology import Subscription

if TYPE_CHECKING:
    from waybill.app import App

__all__ = ["replay", "seek"]

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="The name of one of the application's topics.")]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate", metavar="N", min=0.001, help="Messages a second at most; without, as fast as they are handled."
    ),
]
ByGroup = Annotated[
    str | None, typer.Option("--group", metavar="GROUP", help="Whose handler; default the application's name.")
]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be replayed, and to whom. `to`: a shadow handler."""

    app: App
    topic: Topic[Any]
    group: str
    stretch: Stretch
    to: Callable[..., Any] | None = None
    type: str | None = None
    rate: float | None = None
    limit: int | None = None

    @property
    def subscription(self) -> Subscription:
        return Subscription(topic=self.topic.spec, group=self.group)

    def wanted(self, message: Message) -> bool:
        return self.type in {None, message.type}

    @property
    def whom(self) -> str:
        return self.group if self.to is None else f"{self.to.__module__}:{self.to.__qualname__}"


def replay(  # noqa: PLR0917 - typer calls it by name
    topic: TopicArgument,
    group: ByGroup = None,
    into: Annotated[
        str | None, typer.Option("--into", metavar="MODULE:HANDLER", help="To this handler instead, a shadow.")
    ] = None,
    since: stretches.Since = None,
    until: stretches.Until = None,
    first: stretches.First = None,
    last: stretches.Last = None,
    key: stretches.Keys = None,
    first_key: stretches.FirstKey = None,
    last_key: stretches.LastKey = None,
    type_: options.MessageType = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = None,
    rate: Rate = None,
    yes: options.Yes = False,
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Handle what a topic has kept once more, here, marked as replayed. A dry run without --yes.

    It belongs to a throwaway group: no living one is touched. What a handler does, it does again: it is told by
    Delivery.replayed. What fails is counted and logged, and becomes nobody's dead letter.

    Ctrl-C ends it in order.
    """
    reference = reference_of(app, url=url, dev=dev)
    opened = choose_app(reference, url=url, dev=dev)
    ask = Ask(
        opened,
        find_topic(opened, reference, topic),
        group or opened.name,
        stretches.stretch_of(since, until, first, last, keys=key, between=(first_key, last_key)),
        None if into is None else load_handler(into),
        type_,
        rate,
        limit,
    )
    if yes:
        _do(ask, as_json=as_json)
    else:
        _foretell(ask, as_json=as_json, what="would be replayed to", to=ask.whom)


def seek(  # noqa: PLR0917 - typer calls it by name
    topic: TopicArgument,
    group: ByGroup = None,
    since: stretches.Since = None,
    first: stretches.First = None,
    yes: options.Yes = False,
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Have a group begin somewhere else when it comes back. A dry run without --yes; refused while it is consumed.

    What lies before that place counts as handled, what lies behind it is handled, again or for the first time. Say with
    --since or --first where; partitions that --first does not name stay where they are.
    """
    if (since is None) == (first is None):
        raise ConfigurationError(
            "say where the group is to begin: --since TIME, or --first POSITION for each partition"
        )
    reference = reference_of(app, url=url, dev=dev)
    opened = choose_app(reference, url=url, dev=dev)
    found = find_topic(opened, reference, topic)
    ask = Ask(opened, found, group or opened.name, stretches.stretch_of(since, first=first))
    if yes:
        asyncio.run(_seek(ask))
    _foretell(ask, as_json=as_json, what="lie before" if yes else "would lie before", to=ask.group, done=yes)


async def _seek(ask: Ask) -> None:
    async with ask.app.connected() as brokers:
        await history_of(brokers.of(ask.topic.spec), ask.topic.spec).seek(ask.subscription, ask.stretch)


def _foretell(ask: Ask, *, as_json: bool, what: str, to: str, done: bool = False) -> None:
    from waybill.cli.screen import document, line, safe, tell  # noqa: PLC0415 - `waybill --help` need not load it

    most = asyncio.run(_most(ask))
    if as_json:
        document([{"dry_run": not done, "topic": ask.topic.name, "to": to, "messages_at_most": most}])
    else:
        line(safe(f"{ask.topic.name}: at most {most} messages {what} {to}"))
    if not done:
        tell(f"a dry run, nothing was done. To do it: {command()}" if most else "nothing was kept of that")


async def _most(ask: Ask) -> int:
    async with ask.app.connected() as brokers:
        history = history_of(brokers.of(ask.topic.spec), ask.topic.spec)
        async with history.past(ask.subscription, ask.stretch) as past:
            return past.total


def _do(ask: Ask, *, as_json: bool) -> None:
    from waybill.cli.screen import document, line, safe, tell  # noqa: PLC0415 - `waybill --help` need not load it

    configure_logging()
    result, interrupted = Replayed(), True

    def note(so_far: Replayed) -> None:
        nonlocal result
        result = so_far

    with suppress(KeyboardInterrupt):
        asyncio.run(_replay(ask, note))
        interrupted = False
    if as_json:
        figures = msgspec.structs.asdict(result)
        document([{"dry_run": False, "topic": ask.topic.name, "to": ask.whom, **figures}])
    else:
        failed = f", {result.failed} failed ({result.cause})" if result.failed else ""
        line(safe(f"{ask.topic.name}: {result.handled} handled once more by {ask.whom}{failed}"))
    if interrupted:
        tell("interrupted: the others were not handled")
    if interrupted or result.failed:
        raise typer.Exit(1)


async def _replay(ask: Ask, note: Callable[[Replayed], None]) -> None:
    from waybill.cli.progress import bar  # noqa: PLC0415 - `waybill --help` need not load it

    most = await _most(ask)
    with bar(most if ask.limit is None else min(most, ask.limit), "0 handled") as show:

        def on_progress(so_far: Replayed) -> None:
            note(so_far)
            show(so_far.seen, f"{so_far.handled} handled")

        async with ask.app.running(consume=False):
            await ask.app.replay(
                ask.topic,
                ask.stretch,
                group=ask.group,
                to=ask.to,
                wanted=ask.wanted,
                rate=ask.rate,
                limit=ask.limit,
                on_progress=on_progress,
            )
