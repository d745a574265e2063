"""`waybill dlq redrive | discard | export`: what becomes of dead letters. Without `--yes` nothing is taken or changed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from waybill import letters
from waybill import redrive as core
from waybill.cli import options
from waybill.cli.application import choose_app
from waybill.cli.letters import Letter, Wanted, resolve, select
from waybill.cli.moving import Account, foretell
from waybill.cli.run import configure_logging
from waybill.errors import ConfigurationError
from waybill.letters import Exported
from waybill.message import Message
from waybill.redrive import Discarded, Redriven

if TYPE_CHECKING:
    from waybill.adapter import Adapter
    from waybill.app import App
    from waybill.topology import Subscription

__all__ = ["discard", "export", "redrive"]

Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", min=0.001, help="Letters a second at most; without, as fast as the broker."),
]
Native = Annotated[
    bool, typer.Option("--native", help="Have the broker itself move all there are, unread, where it can.")
]


def redrive(  # noqa: PLR0917 - typer calls it by name
    app: options.App = None,
    topic: options.TopicName = None,
    group: options.Group = None,
    reason: options.Reason = None,
    type_: options.MessageType = None,
    ids: options.Ids = None,
    older_than: options.OlderThan = None,
    newer_than: options.NewerThan = None,
    limit: options.Oldest = None,
    rate: Rate = None,
    native: Native = False,
    yes: options.Yes = False,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Send dead letters to the group they failed in once more; other groups see nothing. A dry run without --yes.

    Ids stay, attempts begin anew. A letter goes once its copy is confirmed: a crash may make two of it, never none.

    Ctrl-C ends it in order: what has not been sent stays among the dead letters.
    """
    opened = choose_app(app, url=url, dev=dev)
    wanted = _wanted(topic, group, reason, type_, ids).aged(older_than=older_than, newer_than=newer_than)
    if native and (limit is not None or wanted != Wanted(topic=topic, group=group)):
        raise ConfigurationError("--native: the broker moves all letters of a group: name --topic and --group at most")
    if not yes:
        foretell(opened, wanted, limit, as_json=as_json, again=True)
        return

    async def do(
        adapter: Adapter,
        subscription: Subscription,
        takes: Callable[[Message], bool],
        room: int | None,
        note: Callable[[Redriven], None],
    ) -> Redriven:
        if native:
            return await core.move(adapter, subscription, rate=rate, on_progress=note)
        return await core.redrive(adapter, subscription, takes, rate=rate, limit=room, on_progress=note)

    account = Account(do)
    account.run(opened, wanted, limit)
    account.tell(as_json=as_json)


def discard(  # noqa: PLR0917 - typer calls it by name
    reason_text: Annotated[
        str, typer.Option("--reason-text", metavar="WHY", help="Why, for those who look for them; it is logged.")
    ],
    app: options.App = None,
    topic: options.TopicName = None,
    group: options.Group = None,
    reason: options.Reason = None,
    type_: options.MessageType = None,
    ids: options.Ids = None,
    older_than: options.OlderThan = None,
    newer_than: options.NewerThan = None,
    limit: options.Oldest = None,
    yes: options.Yes = False,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Remove dead letters for good: `dlq export` keeps a copy. A dry run without --yes. Each id is logged to stderr."""
    if not reason_text.strip():
        raise ConfigurationError("--reason-text: say why these dead letters are discarded")
    opened = choose_app(app, url=url, dev=dev)
    wanted = _wanted(topic, group, reason, type_, ids).aged(older_than=older_than, newer_than=newer_than)
    if not yes:
        foretell(opened, wanted, limit, as_json=as_json, again=False)
        return
    configure_logging()

    async def do(
        adapter: Adapter,
        subscription: Subscription,
        takes: Callable[[Message], bool],
        room: int | None,
        note: Callable[[Discarded], None],
    ) -> Discarded:
        return await core.discard(adapter, subscription, takes, reason=reason_text, limit=room, on_progress=note)

    account = Account(do, logged=True)
    account.run(opened, wanted, limit)
    account.tell(as_json=as_json)


def export(  # noqa: PLR0917 - typer calls it by name
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="A new file; - for stdout.")] = "-",
    app: options.App = None,
    topic: options.TopicName = None,
    group: options.Group = None,
    reason: options.Reason = None,
    type_: options.MessageType = None,
    ids: options.Ids = None,
    older_than: options.OlderThan = None,
    newer_than: options.NewerThan = None,
    limit: options.Oldest = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Write dead letters as lines of JSON: attributes, headers, record, and the body as text or base64. Removes none.

    --json is about what is said of a file: what --to - writes is lines of JSON anyway.
    """
    from waybill.cli.screen import document, line, tell  # noqa: PLC0415 - `waybill --help` need not load it

    opened = choose_app(app, url=url, dev=dev)
    wanted = _wanted(topic, group, reason, type_, ids).aged(older_than=older_than, newer_than=newer_than)
    with _opened(to) as file:
        exported = asyncio.run(_export(opened, wanted, limit, file))
    if as_json and to != "-":
        document([{"written": exported.written, "to": to, "complete": exported.complete}])
    elif to != "-":
        line(f"{exported.written} written to {to}")
    if not exported.complete:
        tell("not all: the broker could not show those that others hold now")
        raise typer.Exit(1)


def _wanted(
    topic: str | None, group: str | None, reason: str | None, type_: str | None, ids: list[str] | None
) -> Wanted:
    return Wanted(topic=topic, group=group, reason=reason, type=type_, ids=tuple(ids) if ids else None)


async def _export(app: App, wanted: Wanted, limit: int | None, file: BinaryIO) -> Exported:
    written, complete = 0, True
    async with app.admin() as admin:
        subscriptions = await select(app, admin, wanted)
        chosen = await resolve(admin, subscriptions, wanted)
        for subscription in subscriptions:

            def takes(message: Message, at: Subscription = subscription) -> bool:
                return chosen.takes(Letter.of(at, message))

            room = None if limit is None else limit - written
            part = await letters.export(admin, subscription, takes, file.write, limit=room)
            written += part.written
            complete = complete and part.complete
    return Exported(written, complete)


@contextmanager
def _opened(to: str) -> Generator[BinaryIO, None, None]:
    """Flushed to the disk when it is left, since people remove the letters next; gone if it could not be completed."""
    if to == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = Path(to).open("xb")  # noqa: SIM115 - closed below
    except FileExistsError as error:
        raise ConfigurationError(f"--to {to}: there is such a file; name a new one") from error
    except OSError as error:
        raise ConfigurationError(f"--to {to}: {error.strerror}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(to).unlink(missing_ok=True)
        raise
