"""`waybill schema level | mode | delete`: what changes a registry beside its schemas."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer

from waybill.cli.screen import document, line, tell
from waybill.errors import ConfigurationError
from waybill_schema_registry.cli import options
from waybill_schema_registry.cli.choosing import open_registry
from waybill_schema_registry.client.registry import Registry
from waybill_schema_registry.entities import Mode
from waybill_schema_registry.errors import NotFound
from waybill_schema_registry.gate.table import load_table
from waybill_schema_registry.levels import Level

__all__ = ["delete", "level", "mode"]

R = TypeVar("R")

Scope = Annotated[
    str | None, typer.Argument(metavar="SUBJECT", help="A subject, or a context as :.name:; else the whole registry.")
]
NewLevel = Annotated[str | None, typer.Argument(metavar="LEVEL", help=f"One of {', '.join(Level)}.")]
NewMode = Annotated[str | None, typer.Argument(metavar="MODE", help=f"One of {', '.join(Mode)}.")]
Unset = Annotated[
    bool, typer.Option("--unset", help="Take the subject's own setting away: the wider one counts again.")
]
Force = Annotated[bool, typer.Option("--force", help="IMPORT even where there are schemas.")]
One = Annotated[int | None, typer.Option("--version", metavar="N", min=1, help="Only this version; else all of them.")]
Permanent = Annotated[bool, typer.Option("--permanent", help="For good: what was softly deleted before.")]


def level(
    subject: Scope = None,
    new: NewLevel = None,
    unset: Unset = False,
    registry: options.RegistryUrl = None,
    as_json: options.Json = False,
) -> None:
    """Show the level of compatibility that counts, or set another."""
    subject, new = _told_apart(subject, new, list(Level))

    async def do(opened: Registry) -> Level:
        if unset:
            with _own("level", subject):
                await opened.delete_config(subject)
        elif (chosen := options.level_named(new)) is not None:
            await opened.set_compatibility(chosen, subject)
        return await opened.get_compatibility(subject)

    _refuse_both(new, unset=unset)
    _tell(subject, "level", _done(registry, do), as_json=as_json)


def mode(  # noqa: PLR0917 - typer calls it by name
    subject: Scope = None,
    new: NewMode = None,
    unset: Unset = False,
    force: Force = False,
    registry: options.RegistryUrl = None,
    as_json: options.Json = False,
) -> None:
    """Show the mode that counts, or set another: what may be written."""
    subject, new = _told_apart(subject, new, list(Mode))

    async def do(opened: Registry) -> Mode:
        if unset:
            if subject is None:
                raise ConfigurationError("waybill schema mode --unset: name the subject whose own mode is to go")
            with _own("mode", subject):
                await opened.delete_mode(subject)
        elif new is not None:
            await opened.set_mode(_mode_named(new), subject, force=force)
        return await opened.get_mode(subject)

    _refuse_both(new, unset=unset)
    _tell(subject, "mode", _done(registry, do), as_json=as_json)


def delete(  # noqa: PLR0917 - typer calls it by name
    subject: options.Subject,
    version: One = None,
    permanent: Permanent = False,
    yes: options.Yes = False,
    registry: options.RegistryUrl = None,
    as_json: options.Json = False,
) -> None:
    """Delete a subject, or one version of it: softly first, so that it can be had back, then for good with --permanent.

    What is softly deleted can still be read by its id. What is gone for good cannot, and messages that were written with it can
    never be decoded again.
    """

    async def do(opened: Registry) -> list[int]:
        if not yes:
            return await _would_go(opened, subject, version, permanent=permanent)
        if version is None:
            return list(await opened.delete_subject(subject, permanent=permanent))
        return [await opened.delete_version(subject, version, permanent=permanent)]

    gone = _done(registry, do)
    if as_json:
        document([{"subject": subject, "versions": gone, "permanent": permanent, "done": yes}])
    else:
        how = "for good" if permanent else "softly"
        said = "deleted" if yes else "would be deleted"
        line(f"{subject}: {_versions(gone)} {said} {how}")
    if not yes:
        tell("nothing was deleted: do it with --yes")


async def _would_go(registry: Registry, subject: str, version: int | None, *, permanent: bool) -> list[int]:
    """Raises `NotFound` where there is no such version, `ConfigurationError` where what is to go for good is not softly deleted."""
    there = await registry.get_versions(subject, deleted=permanent)
    chosen = [one for one in there if version in (None, one)]
    if not chosen:
        raise NotFound(f"Version {version} not found.", code=40402)
    if permanent:
        try:
            live = set(await registry.get_versions(subject)).intersection(chosen)
        except NotFound:
            live = set[int]()
        if live:
            raise ConfigurationError(
                f"{subject}: {_versions(sorted(live))} can still be had: delete softly first, without --permanent"
            )
    return chosen


def _versions(numbers: Sequence[int]) -> str:
    return ", ".join(f"version {one}" for one in numbers)


@contextmanager
def _own(what: str, subject: str | None) -> Generator[None]:
    """That there is nothing to take away is answered as if there were no such subject."""
    try:
        yield
    except NotFound as error:
        raise NotFound(
            f"{subject or 'the whole registry'} has no {what} of its own: nothing is to be taken away"
        ) from error


def _done(url: str | None, do: Callable[[Registry], Awaitable[R]]) -> R:
    async def run() -> R:
        async with open_registry(url, load_table()) as opened:
            return await do(opened)

    return asyncio.run(run())


def _told_apart(subject: str | None, new: str | None, known: list[str]) -> tuple[str | None, str | None]:
    """`waybill schema level FULL` is about the whole registry."""
    if subject is not None and new is None and subject.upper() in known:
        return None, subject
    return subject, new


def _refuse_both(new: str | None, *, unset: bool) -> None:
    if new is not None and unset:
        raise ConfigurationError(f"--unset and {new}: choose one of them")


def _mode_named(name: str) -> Mode:
    try:
        return Mode(name.upper())
    except ValueError:
        raise ConfigurationError(f"there is no mode {name!r}. Modes are: {', '.join(Mode)}") from None


def _tell(subject: str | None, what: str, value: str, *, as_json: bool) -> None:
    if as_json:
        document([{"subject": subject, what: str(value)}])
    else:
        line(f"{subject or 'the whole registry'}: {value}")
