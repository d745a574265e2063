"""`waybill dlq list | show`: look at dead letters. Nothing is taken or changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from waybill.cli import options
from waybill.cli.application import choose_app
from waybill.cli.letters import Letter, Wanted, collect
from waybill.errors import ConfigurationError, WaybillError
from waybill.letters import as_object

__all__ = ["group"]

SHORT = 8
"""Characters of an id on a terminal: `show` finds it by its beginning."""

group = typer.Typer(help="Dead letters: what could not be handled, and why.", no_args_is_help=True)


@group.command("list", epilog="Example: waybill dlq list --topic orders.placed --reason rejected --limit 20")
def list_(  # noqa: PLR0917 - typer calls it by name
    app: options.App = None,
    topic: options.TopicName = None,
    group: options.Group = None,
    reason: options.Reason = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the newest.")] = 50,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """List dead letters, the newest last."""
    from waybill.cli.screen import age, document, table, tell  # noqa: PLC0415 - `waybill --help` need not load it

    opened = choose_app(app, url=url, dev=dev)
    wanted = Wanted(topic=topic, group=group, reason=reason)
    found = asyncio.run(collect(opened, wanted, limit))
    now = datetime.now(UTC)
    if as_json:
        document([_summary(letter, now) for letter in found.letters])
    else:
        on_screen = sys.stdout.isatty()
        rows = [
            [
                letter.message.id[:SHORT] if on_screen else letter.message.id,
                letter.subscription.name,
                letter.record.reason,
                str(letter.record.attempts),
                age((now - letter.record.at).total_seconds()),
                (letter.record.error or "-").rpartition(".")[2],
                letter.record.detail,
            ]
            for letter in found.letters
        ]
        table(["id", "topic/group", "reason", "attempts", "age", "error", "detail"], rows, numbers=["attempts", "age"])
    if found.total > len(found.letters):
        tell(f"the newest {len(found.letters)} of {found.total}: --limit shows more")
    if not found.complete:
        tell("the broker could not show all of them now: others hold some")


@group.command("show", epilog="Example: waybill dlq show 0b6b4c1e --raw > body.bin")
def show(  # noqa: PLR0917 - typer calls it by name
    id_: Annotated[str, typer.Argument(metavar="ID", help="The message's id, or its beginning.")],
    app: options.App = None,
    topic: options.TopicName = None,
    group: options.Group = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the body to stdout, byte for byte.")] = False,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Show one dead letter whole: attributes, headers, the record with its stack, and the body."""
    from waybill.cli.screen import document  # noqa: PLC0415 - `waybill --help` need not load it

    if raw and as_json:
        raise ConfigurationError("--raw writes bytes, --json a document: choose one")
    opened = choose_app(app, url=url, dev=dev)
    found = asyncio.run(collect(opened, Wanted(topic=topic, group=group, ids=(id_,)), limit=20)).letters
    found = [letter for letter in found if letter.message.id == id_] or found  # a whole id is that id
    if not found:
        raise WaybillError(f"no dead letter has an id that begins with {id_!r}: `waybill dlq list` shows them")
    if len({letter.message.id for letter in found}) > 1:
        ids = ", ".join(sorted({letter.message.id for letter in found}))
        raise ConfigurationError(f"several ids begin with {id_!r}: {ids}")
    if raw:
        _write_raw(found)
    elif as_json:
        now = datetime.now(UTC)
        document([_whole(letter, now) for letter in found])
    else:
        for letter in found:
            _print(letter)


def _write_raw(found: Sequence[Letter]) -> None:
    if len({letter.message.body for letter in found}) > 1:
        places = ", ".join(letter.subscription.name for letter in found)
        raise ConfigurationError(f"that id lies in {places}, with different bodies: choose with --topic and --group")
    sys.stdout.buffer.write(found[-1].message.body or b"")
    sys.stdout.buffer.flush()


def _summary(letter: Letter, now: datetime) -> dict[str, Any]:
    message, record = letter.message, letter.record
    return {
        "id": message.id,
        "topic": letter.subscription.topic.name,
        "group": letter.subscription.group,
        "reason": record.reason,
        "attempts": record.attempts,
        "at": record.at.isoformat(),
        "age_seconds": round((now - record.at).total_seconds(), 3),
        "error": record.error,
        "detail": record.detail,
        "key": message.key,
        "redrives": message.redrives,
    }


def _whole(letter: Letter, now: datetime) -> dict[str, Any]:
    return {**_summary(letter, now), **as_object(letter.subscription, letter.message)}


def _print(letter: Letter) -> None:
    from waybill.cli.screen import block, heading, line, safe  # noqa: PLC0415 - `waybill --help` need not load it

    heading(f"{letter.subscription.name}  {letter.message.id}")
    whole = as_object(letter.subscription, letter.message)
    stack = whole["record"].pop("stack")
    for title in ("attributes", "headers", "record"):
        if whole[title]:
            heading(title)
        for name, value in whole[title].items():
            if value not in {None, ""}:
                line(f"  {safe(name)}: {safe(str(value))}")
    if stack:
        heading("stack")
        block(stack)
    heading("body")
    block(_readable(letter.message.body))


def _readable(body: bytes | None) -> str:
    """JSON indented, other bytes as a dump."""
    if body is None:
        return "none: a tombstone"
    try:
        return msgspec.json.format(body.decode(), indent=2) if body else "empty"
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError):
        return "\n".join(_dumped(body, start) for start in range(0, len(body), 16))


def _dumped(body: bytes, start: int) -> str:
    part = body[start : start + 16]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"{start:08x}  {part.hex(' '):<47}  {text}"
