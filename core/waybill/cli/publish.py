"""`waybill publish`: one message, or one a line."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from io import FileIO
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waybill.cli import options
from waybill.cli.application import bus_of, choose_app, find_topic, reference_of
from waybill.cli.lines import Line, chunks
from waybill.codec import text_codec_of
from waybill.errors import ConfigurationError, DecodeError, EncodeError, PublishRefused, PublishUnknown
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.topic import Topic

if TYPE_CHECKING:
    from waybill.app import App

__all__ = ["headers_of", "publish"]


def publish(  # noqa: PLR0917 - typer calls it by name
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The name of one of the application's topics.")],
    data: Annotated[str | None, typer.Option("--data", metavar="JSON", help="One message.")] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="FILE", help="JSON lines, one message a line; - for stdin.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Instead of the topic's own.")] = None,
    header: Annotated[list[str] | None, typer.Option("--header", metavar="NAME=VALUE", help="May be repeated.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Report lines that do not fit, and go on.")] = False,
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Publish one message, or one for each line of a file. What does not fit the topic's type is not sent.

    Says how many were published, and on which broker.

    Lines are published in order, as they are read; a line that does not fit ends it there, unless --skip-bad.
    """
    from waybill.cli.screen import document, line, tell  # noqa: PLC0415 - `waybill --help` need not load it

    if (data is None) == (source is None):
        raise ConfigurationError("give either --data JSON or --from FILE (- for stdin)")
    reference = reference_of(app, url=url, dev=dev)
    opened = choose_app(reference, url=url, dev=dev)
    found = find_topic(opened, reference, topic)
    bus = bus_of(opened.settings, found.spec.broker)
    way = Way(opened, found, key, headers_of(header or []), skip_bad=skip_bad)
    if data is not None:
        counts = asyncio.run(_publish_one(way, data))
    else:
        counts = asyncio.run(_publish_lines(way, _open(str(source))))
    if as_json:
        document([{"topic": topic, "bus": bus, **asdict(counts)}])
    else:
        line(f"{topic} on {bus}: {counts}")
    if counts.unknown:
        tell("unknown: may be stored. Publishing those again may make a second copy of each")
    if counts.refused or counts.unknown or (counts.bad and not skip_bad):
        raise typer.Exit(1)


@dataclass(slots=True)
class Counts:
    """What became of the messages."""

    published: int = 0
    refused: int = 0
    unknown: int = 0
    bad: int = 0

    def __str__(self) -> str:
        rest = "".join(f", {count} {what}" for what, count in list(asdict(self).items())[1:] if count)
        return f"{self.published} published{rest}"


@dataclass(frozen=True, slots=True)
class Way:
    """Where the messages go and what they are given."""

    app: App
    topic: Topic[Any]
    key: str | None
    headers: dict[str, str]
    skip_bad: bool

    async def send(self, values: Sequence[Any]) -> list[SendResult]:
        if self.key is None:
            return await self.app.publish_many(self.topic, values, headers=self.headers)
        return await asyncio.gather(*(self._send(value) for value in values))

    async def _send(self, value: Any) -> SendResult:
        try:
            return await self.app.publish(self.topic, value, key=self.key, headers=self.headers)
        except (PublishRefused, EncodeError) as error:
            return Refused(str(error))
        except PublishUnknown as error:
            return Unknown(str(error))


def headers_of(given: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigurationError(f"--header {pair}: write name=value")
        headers[name] = value
    return headers


def _open(source: str) -> FileIO:
    if source == "-":
        return FileIO(sys.stdin.fileno(), closefd=False)
    try:
        return FileIO(source)
    except OSError as error:
        raise ConfigurationError(f"--from {source}: {error.strerror}") from error


async def _publish_one(way: Way, data: str) -> Counts:
    try:
        value = text_codec_of(way.topic.codec, way.topic.payload).decode(data.encode())
    except DecodeError as error:
        raise DecodeError(f"--data does not fit {way.topic.name} ({_payload(way.topic)}): {error}") from error
    async with way.app.running(consume=False):
        results = await way.send([value])
    counts = Counts()
    _count(counts, results, None)
    return counts


async def _publish_lines(way: Way, file: FileIO) -> Counts:
    from waybill.cli.progress import bar  # noqa: PLC0415
    from waybill.cli.screen import tell  # noqa: PLC0415

    counts = Counts()
    read = [0]
    found = os.fstat(file.fileno())
    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    with closing(file), bar(size, str(counts)) as show:
        async with way.app.running(consume=False):
            async for lines in chunks(file, read):
                good, bad = _decoded(way, lines)
                results = await way.send([value for _, value in good])
                before = counts.refused, counts.unknown
                _count(counts, results, [number for number, _ in good])
                show(read[0], str(counts))
                for number, text in bad:
                    counts.bad += 1
                    tell(f"line {number} does not fit {way.topic.name} ({_payload(way.topic)}): {text}")
                if bad and not way.skip_bad:
                    tell(
                        f"stopped at line {bad[0][0]}: correct it and publish the rest (tail -n +{bad[0][0]}), or leave such lines out with --skip-bad"
                    )
                    break
                if (counts.refused, counts.unknown) != before:
                    tell(f"stopped after line {lines[-1][0]}: the broker did not take all of the lines so far")
                    break
    return counts


def _decoded(way: Way, lines: Sequence[Line]) -> tuple[list[tuple[int, Any]], list[tuple[int, str]]]:
    """The values that fit, and what is wrong with the others; without --skip-bad, up to the first that is wrong."""
    good: list[tuple[int, Any]] = []
    bad: list[tuple[int, str]] = []
    codec = text_codec_of(way.topic.codec, way.topic.payload)
    for number, text in lines:
        try:
            good.append((number, codec.decode(text)))
        except DecodeError as error:
            bad.append((number, str(error)))
            if not way.skip_bad:
                break
    return good, bad


def _count(counts: Counts, results: Sequence[SendResult], numbers: Sequence[int] | None) -> None:
    from waybill.cli.screen import tell  # noqa: PLC0415

    for place, result in enumerate(results):
        where = "" if numbers is None else f"line {numbers[place]}: "
        if isinstance(result, Confirmed):
            counts.published += 1
        elif isinstance(result, Refused):
            counts.refused += 1
            tell(f"{where}refused, certainly not stored: {result.reason}")
        else:
            counts.unknown += 1
            tell(f"{where}unknown, may be stored: {result.cause}")


def _payload(topic: Topic[Any]) -> str:
    return getattr(topic.payload, "__name__", str(topic.payload))
