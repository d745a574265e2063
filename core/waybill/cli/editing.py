"""`waybill dlq edit`: a mended copy of one dead letter, sent to the group it failed in. Without `--yes` it is only shown."""

from __future__ import annotations

import asyncio
import difflib
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
import typer

from waybill.cli import options
from waybill.cli.bench import Bench, bench_of
from waybill.cli.choosing import By, Place, by_whom, known_id
from waybill.cli.letters import Wanted, select
from waybill.cli.operating import Carried
from waybill.cli.publish import headers_of
from waybill.cli.showing import masked, readable
from waybill.cli.spread import spread
from waybill.cli.survey import command
from waybill.errors import ConfigurationError, WaybillError
from waybill.message import Message

if TYPE_CHECKING:
    from waybill.dlq.operation import Operation
    from waybill.topology import Subscription

__all__ = ["edit"]

Headers: TypeAlias = Annotated[
    list[str] | None, typer.Option("--header", metavar="NAME=VALUE", help="Set this header. May be repeated.")
]
Without: TypeAlias = Annotated[
    list[str] | None, typer.Option("--without", metavar="NAME", help="Leave this header out. May be repeated.")
]


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be another way in which letter. `body`: `None`: as it is."""

    id: str
    topic: str | None
    group: str | None
    body: bytes | None
    headers: Sequence[str]
    without: Sequence[str]

    def of(self, letter: Message) -> Message:
        """The letter as it is wanted."""
        kept = {name: value for name, value in letter.headers.items() if name not in self.without}
        body = letter.body if self.body is None else self.body
        return msgspec.structs.replace(letter, body=body, headers={**kept, **headers_of(self.headers)})


@dataclass(frozen=True, slots=True)
class Mended:
    """A dead letter and what is to go instead of it. `wrong`: why today's contract cannot read that."""

    subscription: Subscription
    letter: Message
    copy: Message
    wrong: str | None
    marked: tuple[str, ...]
    """Headers and fields whose values are not shown."""

    def differences(self) -> Iterator[str]:
        """Lines with `-` and `+` before what goes and comes."""
        yield from difflib.unified_diff(
            _lines(self.letter, self.marked), _lines(self.copy, self.marked), "letter", "copy", lineterm=""
        )

    def begin(self, bench: Bench, by: str, why: str) -> Operation:
        """The operation that sends the copy."""
        from waybill.dlq.editing import edit as begin_edit  # noqa: PLC0415 - `waybill --help` need not load it

        body, headers = self.copy.body, self.copy.headers
        return begin_edit(
            bench.operations, self.subscription, self.letter.id, body=body, headers=headers, by=by, why=why
        )


@spread
def edit(
    *,
    id_: options.Id,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="What was wrong with it, for the audit.")],
    place: Place,
    topic: options.TopicName = None,
    group: options.Group = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="The new body; - for stdin. Without: as it is.")
    ] = None,
    header: Headers = None,
    without: Without = None,
    force: Annotated[bool, typer.Option("--force", help="Even if today's contract cannot read it.")] = False,
    by: By = None,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Send a mended copy of one dead letter to its group, under an id of its own. A dry run without --yes.

    Its body and headers can be mended, and nothing else. The letter is removed when the copy is confirmed.
    """
    if data is None and not header and not without:
        raise ConfigurationError(
            "say what is to be mended: --data, --header, --without. `dlq show ID --raw` writes the body"
        )
    change = Change(id_, topic, group, None if data is None else _read(data), header or [], without or [])
    if not yes:
        _show(asyncio.run(_mended(place, change)), as_json=as_json)
        return

    async def begin(bench: Bench) -> AsyncGenerator[tuple[Operation, int | None], None]:
        mended = await _mend(bench, change)
        if mended.wrong and not force:
            raise ConfigurationError(
                f"the topic's contract cannot read that either: {mended.wrong}. --force sends it anyway"
            )
        yield mended.begin(bench, by_whom(by), why), 1

    carried = Carried(place)
    carried.do(begin)
    carried.tell(as_json=as_json)


def _read(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--data {source}: {error.strerror}") from error


async def _mended(place: Place, change: Change) -> Mended:
    async with bench_of(place) as bench:
        return await _mend(bench, change)


async def _mend(bench: Bench, change: Change) -> Mended:
    from waybill.dlq.collecting import collect  # noqa: PLC0415 - `waybill --help` need not load it

    wanted = Wanted(topic=change.topic, group=change.group)
    own = {(each.topic.name, each.group): each for each in await select(bench.app, bench.brokers.admin, wanted)}
    for subscription in own.values():
        await collect(bench.brokers.admin, subscription, bench.index)
    keys = [key for key in known_id(bench.index, change.id) if (key.topic, key.group) in own]
    if len(keys) != 1:
        places = ", ".join(f"{key.topic}/{key.group}" for key in keys) or "no group of this application"
        raise ConfigurationError(f"that id lies in {places}: choose with --topic and --group")
    letter = bench.index.message(keys[0])
    if letter is None:
        raise WaybillError(f"the index has no body of {keys[0].id} any more")
    copy = change.of(letter)
    check = bench.check(own[keys[0].topic, keys[0].group], None)
    return Mended(
        own[keys[0].topic, keys[0].group],
        letter,
        copy,
        None if check is None else await check(copy),
        bench.place.marked(),
    )


def _show(mended: Mended, *, as_json: bool) -> None:
    from waybill.cli.screen import block, document, heading, tell  # noqa: PLC0415 - `waybill --help` need not load it

    name = mended.subscription.name
    if as_json:
        changed = list(mended.differences())
        document([{"dry_run": True, "id": mended.letter.id, "to": name, "changed": changed, "wrong": mended.wrong}])
        return
    heading(f"{name}  {mended.letter.id}")
    block("\n".join(mended.differences()) or "nothing is changed")
    if mended.wrong:
        tell(f"the topic's contract cannot read that either: {mended.wrong}")
    tell(f"a dry run, nothing was sent. To do it: {command()}")


def _lines(message: Message, marked: tuple[str, ...]) -> list[str]:
    shown = masked(message, marked)
    return [*(f"{name}: {value}" for name, value in sorted(shown.headers.items())), *readable(shown.body).splitlines()]
