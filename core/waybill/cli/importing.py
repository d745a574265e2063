"""`waybill dlq import`: exported dead letters back to where they lay, or to another group or broker."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from waybill.cli import options
from waybill.cli.choosing import By, Place, action
from waybill.cli.letters import groups, not_empty
from waybill.cli.spread import spread
from waybill.cli.survey import command
from waybill.errors import ConfigurationError, WaybillError
from waybill.message import Message

if TYPE_CHECKING:
    from waybill.brokers import Brokers
    from waybill.dlq.index import Index
    from waybill.dlq.transfer import Line
    from waybill.topology import Subscription

__all__ = ["import_"]

CHUNK = 500
"""Letters held at once."""
WORDS = {
    "written": "brought", "known": "there already", "refused": "refused", "unknown": "unknown, which may come twice if imported again",
}  # fmt: skip


@spread
def import_(
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `dlq export` has written; - for stdin.")],
    place: Place,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TOPIC/GROUP",
            callback=not_empty,
            help="To this group's dead letters; else each to its own.",
        ),
    ] = None,
    by: By = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Even where the broker cannot show all it has: some may then be there twice."),
    ] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Bring exported dead letters to the broker, where they are dead letters again. A dry run without --yes.

    Nobody handles them until they are redriven. A letter that is there already is left as it is, so that an import can be
    repeated; where the broker cannot show all that are there, nothing is brought without --force.
    """
    place.check_audit(by)
    with _opened(file) as lines:
        counts = _counted(lines, to or "")  # all of it is read before anything is sent
        if not yes:
            _foretell(counts, as_json=as_json)
            return
        importing = _Importing(place, to or "", by, force=force)
        try:
            asyncio.run(importing.run(lines, set(counts)))
        except WaybillError as error:
            importing.error = error
        except KeyboardInterrupt:
            importing.interrupted = True
    importing.tell(as_json=as_json)


@contextmanager
def _opened(source: str) -> Generator[BinaryIO, None, None]:
    """So that it can be read twice."""
    if source == "-":
        with tempfile.TemporaryFile() as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
            yield file
        return
    try:
        opened = Path(source).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigurationError(f"{source}: {error.strerror}") from error
    with opened:
        yield opened


def _counted(lines: BinaryIO, to: str) -> Counter[str]:
    return Counter(to or f"{line.topic}/{line.group}" for line in _read(lines))


def _read(lines: BinaryIO) -> Generator[Line, None, None]:
    from waybill.dlq.transfer import read  # noqa: PLC0415 - `waybill --help` need not load it

    lines.seek(0)
    return read(lines)


def _foretell(counts: Counter[str], *, as_json: bool) -> None:
    from waybill.cli.screen import document, table, tell  # noqa: PLC0415 - `waybill --help` need not load it

    if as_json:
        document([{"dry_run": True, **_place(name), "letters": count} for name, count in counts.items()])
        return
    table(["topic/group", "letters"], [[name, str(count)] for name, count in counts.items()], numbers=["letters"])
    tell(f"a dry run, nothing was changed. To do it: {command()}" if counts else "there is no letter in it")


def _place(name: str) -> dict[str, str]:
    topic, _, group = name.rpartition("/")
    return {"topic": topic, "group": group}


class _Importing:
    """What has become of the letters so far, by `topic/group`."""

    def __init__(self, place: Place, to: str, by: str | None, *, force: bool) -> None:
        self._place = place
        self._to = to
        self._by = by
        self._force = force
        self._results: dict[str, Counter[str]] = {}
        self._causes: dict[str, str] = {}
        """Why the first of a group's was not brought."""
        self.error: WaybillError | None = None
        self.interrupted = False

    async def run(self, lines: BinaryIO, names: set[str]) -> None:
        from waybill.cli.progress import bar  # noqa: PLC0415 - `waybill --help` need not load it
        from waybill.dlq.transfer import Met  # noqa: PLC0415

        app = self._place.open()
        async with app.connected() as brokers:
            own = {subscription.name: subscription for subscription in await groups(app, brokers.admin)}
            if strange := names - own.keys():
                raise ConfigurationError(
                    f"{app.name} has no such topic and group: {', '.join(sorted(strange))}. Its own are: {', '.join(own)}. --to "
                    f"brings the letters to one of them"
                )
            with self._index() as index, Met.empty() as met:
                known = {name: met.before(name, await self._known(brokers, own[name], index)) for name in names}
                whole = False
                try:
                    with bar(None, "0 so far") as show:
                        for name, messages in self._chunks(lines):
                            await self._bring(brokers, own[name], messages, known[name])
                            show(0, f"{sum(result['written'] for result in self._results.values())} so far")
                    whole = True
                finally:
                    self._note(index, whole=whole)
                await self._collect(brokers, own, index)

    @contextmanager
    def _index(self) -> Generator[Index, None, None]:
        """The one there is, or one for this import: what a group has already may be more than memory holds."""
        from waybill.dlq.index import Index  # noqa: PLC0415 - `waybill --help` need not load it

        if self._place.has_index():
            with self._place.index() as index:
                yield index
        else:
            with tempfile.TemporaryDirectory() as folder, Index.open(Path(folder) / "letters.db") as index:
                yield index

    def _chunks(self, lines: BinaryIO) -> Generator[tuple[str, Sequence[Message]], None, None]:
        """Letters of one group, so many at once that they need little memory."""
        waiting: dict[str, list[Message]] = {}
        for line in _read(lines):
            name = self._to or f"{line.topic}/{line.group}"
            waiting.setdefault(name, []).append(line.message)
            if len(waiting[name]) >= CHUNK:
                yield name, waiting.pop(name)
        yield from waiting.items()

    async def _known(self, brokers: Brokers, subscription: Subscription, index: Index) -> Callable[[Message], bool]:
        """Whether the group has a letter among its dead ones already. Raises `WaybillError` where that cannot be known."""
        from waybill.dlq.collecting import collect  # noqa: PLC0415 - `waybill --help` need not load it
        from waybill.dlq.transfer import known_to  # noqa: PLC0415

        if not (await collect(brokers.admin, subscription, index)).complete and not self._force:
            raise WaybillError(
                f"{subscription.name}: the broker cannot show all of its dead letters now, since others hold some or since they are "
                f"too many: those that it does not show would be there twice. Try again, or bring them anyway with --force"
            )
        return known_to(index, subscription)

    async def _bring(
        self,
        brokers: Brokers,
        subscription: Subscription,
        messages: Sequence[Message],
        known: Callable[[Message], bool],
    ) -> None:
        from waybill.dlq.transfer import bring  # noqa: PLC0415 - `waybill --help` need not load it

        result = self._results.setdefault(subscription.name, Counter(dict.fromkeys(WORDS, 0)))
        imported = await bring(brokers.of(subscription.topic), subscription, messages, known=known)
        result.update({kind: getattr(imported, kind) for kind in WORDS})
        self._causes[subscription.name] = self._causes.get(subscription.name) or imported.cause

    def _note(self, index: Index, *, whole: bool) -> None:
        """Write to the audit, where there is an index, what was brought, also by an import that was cut short."""
        if not self._place.has_index():
            return
        done = action(self._by, "" if whole else "cut short: what was under way may be there as well")
        for name, result in self._results.items():
            index.note("import", done, **_place(name), count=result["written"], now=datetime.now(UTC))

    async def _collect(self, brokers: Brokers, own: dict[str, Subscription], index: Index) -> None:
        """Bring the letters to the index, where there is one."""
        from waybill.dlq.collecting import collect  # noqa: PLC0415 - `waybill --help` need not load it

        for name in self._results if self._place.has_index() else ():
            await collect(brokers.admin, own[name], index)

    def tell(self, *, as_json: bool) -> None:
        """A line for each group, or a document. Raises what it failed with, and leaves with 1 where some were not brought."""
        from waybill.cli.screen import document, line, safe, tell  # noqa: PLC0415 - `waybill --help` need not load it

        if as_json:
            document(
                [
                    {"dry_run": False, **_place(name), **result, "cause": self._causes.get(name, "")}
                    for name, result in self._results.items()
                ]
            )
        for name, result in () if as_json else self._results.items():
            words = [f"{result[kind]} {said}" for kind, said in WORDS.items() if result[kind]]
            cause = self._causes.get(name)
            line(safe(f"{name}: {', '.join(words) or 'none brought'}" + (f" ({cause})" if cause else "")))
        if self.error is not None:
            raise self.error
        if self.interrupted:
            tell("interrupted: import it again, what is there already is left as it is")
        if self.interrupted or any(result["refused"] or result["unknown"] for result in self._results.values()):
            raise typer.Exit(1)
