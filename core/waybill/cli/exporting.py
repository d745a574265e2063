"""`waybill dlq export`: dead letters out to a file, which `waybill dlq import` reads."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from waybill import letters
from waybill.cli import options
from waybill.cli.choosing import Filter, Place
from waybill.cli.letters import Letter, Wanted, resolve, select
from waybill.cli.spread import spread
from waybill.errors import ConfigurationError
from waybill.letters import Exported
from waybill.message import Message

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.topology import Subscription

__all__ = ["export"]


@spread
def export(
    *,
    place: Place,
    chosen: Filter,
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="A new file; - for stdout.")] = "-",
    limit: options.Oldest = None,
    as_json: options.Json = False,
) -> None:
    """Write dead letters as lines of JSON: attributes, headers, record, and the body as text or base64. Removes none.

    A file is its owner's alone. --json is about what is said of it: what --to - writes is lines of JSON anyway.
    """
    from waybill.cli.screen import document, line, tell  # noqa: PLC0415 - `waybill --help` need not load it

    opened = place.open()
    wanted = chosen.wanted()
    with _opened(to) as file:
        exported = asyncio.run(_export(opened, wanted, limit, file))
    if as_json and to != "-":
        document([{"written": exported.written, "to": to, "complete": exported.complete}])
    elif to != "-":
        line(f"{exported.written} written to {to}")
    if not exported.complete:
        tell("not all: the broker could not show those that others hold now")
        raise typer.Exit(1)


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


def _private(path: str, flags: int) -> int:
    """For its owner alone, as the index is: bodies are people's data."""
    return os.open(path, flags, 0o600)


@contextmanager
def _opened(to: str) -> Generator[BinaryIO, None, None]:
    """Flushed to the disk when it is left, since people remove the letters next; gone if it could not be completed."""
    if to == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = open(to, "xb", opener=_private)  # noqa: SIM115 - `Path.open` takes no opener; closed below
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
