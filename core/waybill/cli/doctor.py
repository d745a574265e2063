"""`waybill doctor`: what is installed, configured and connected, what is wrong with it, and the fix."""

from __future__ import annotations

import asyncio
import platform
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Generator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from waybill.app import App
from waybill.cli import options
from waybill.cli.application import known_topics, open_app
from waybill.errors import ConfigurationError, one_line
from waybill.findings import Finding
from waybill.topic import Topic

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = ["doctor", "installed"]

WIDTH = 80
WHAT = 24
"""Columns of what was looked at."""
ORDERLY = 1.0
"""Seconds that a broker which does not answer is given to be left in order."""


def doctor(
    app: options.App = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long the broker may take in all.")
    ] = 10.0,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Connect, and say what is installed, configured and there, what is wrong, and the fix.

    Wrong is what keeps the application from running, what it needs and the broker lacks, dead letters, messages that nobody
    handles, and topics of which no group is known. Nothing is declared, taken or changed.
    """
    found = [*_versions()]
    opened = _open(found, app, url=url, dev=dev)
    if opened is not None:
        given = {"--app": app, "--url": url}
        asyncio.run(_examine(*opened, found, timeout, _again(given, dev=dev), as_json=as_json))
    _show(found, as_json=as_json)
    if any(finding.trouble for finding in found):
        raise typer.Exit(1)


def installed(distribution: str) -> str | None:
    """Its version; `None` where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _versions() -> Generator[Finding]:
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}")
    own = installed("waybill")
    yield Finding("waybill", own or "", None if own else "it is not installed", None if own else "pip install waybill")
    names = [re.split(r"[^\w.-]", needed)[0] for needed in (requires("waybill") or () if own else ())]
    there = {name: found for name in dict.fromkeys(names) if name != "waybill" and (found := installed(name))}
    yield Finding("libraries", ", ".join(f"{name} {found}" for name, found in there.items()))


def _open(
    found: list[Finding], given: str | None, *, url: str | None, dev: bool
) -> tuple[App, Sequence[Topic[Any]]] | None:
    """The application and its topics; one without handlers where there is none, so that the broker can be looked at."""
    from waybill.settings import load  # noqa: PLC0415 - pydantic-settings is slow to import

    arguments = ({} if url is None else {"url": url}) | ({"dev": True} if dev else {})
    try:
        settings = load(**arguments)
    except ConfigurationError as error:
        found.append(Finding("settings", "", str(error)))
        return None
    stand_in: tuple[App, Sequence[Topic[Any]]] = App("doctor", settings=settings), ()
    reference = given or settings.app
    if not reference:
        fix = "name it as module:attribute: --app service:app, WAYBILL_APP, or `app` in waybill.toml"
        found.extend([*_configured(settings, arguments), Finding("application", "", "none is named", fix)])
        return stand_in
    try:
        app, settings = open_app(reference, url=url, dev=dev)
    except Exception as error:  # noqa: BLE001 - whatever a module raises while it is imported
        found.extend([*_configured(settings, arguments), _unimportable(reference, error)])
        return stand_in
    found.extend(_configured(settings, arguments))
    found.append(Finding("application", f"{reference}, named {app.name!r}, handlers: {len(app.registrations)}"))
    return app, list(known_topics(app, reference).values())


def _unimportable(reference: str, error: Exception) -> Finding:
    if isinstance(error, ConfigurationError):
        return Finding("application", reference, str(error))
    module = reference.partition(":")[0]
    return Finding("application", reference, one_line(error), f"see the whole stack: python -c 'import {module}'")


def _configured(settings: Settings, arguments: dict[str, Any]) -> Generator[Finding]:
    """Each setting that is not a default, and where it has come from. What stands in a table may be secret."""
    from waybill.settings import origins, safe_url  # noqa: PLC0415 - pydantic-settings is slow to import

    for name, origin in sorted(origins(settings, {name: f"--{name}" for name in arguments}).items()):
        value = "***" if "." in name else str(getattr(settings, name))
        yield Finding(f"setting {name}", f"{safe_url(value) if name == 'url' else value} ({origin})")


def _again(given: dict[str, str | None], *, dev: bool) -> str:
    """The options that other commands need, to look at the same."""
    from waybill.settings import safe_url  # noqa: PLC0415 - pydantic-settings is slow to import

    words = [word for name, value in given.items() if value for word in (name, safe_url(value))]
    return "".join(f" {shlex.quote(word)}" for word in (*words, *(["--dev"] if dev else ())))


async def _examine(
    app: App, topics: Sequence[Topic[Any]], found: list[Finding], patience: float, again: str, *, as_json: bool
) -> None:
    from waybill.doctor import examine  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.serving import leave  # noqa: PLC0415

    examining = asyncio.create_task(examine(app, topics, found.append, options=again))
    await asyncio.wait({examining}, timeout=patience)
    if examining.done():
        examining.result()
        return
    fix = "see that the broker runs, that this machine may reach it, and that no process holds it up"
    found.append(Finding("broker", "", f"no answer within {patience:g} s", fix))
    examining.cancel()
    if not (await asyncio.wait({examining}, timeout=ORDERLY))[0]:
        _show(found, as_json=as_json)
        leave(1)  # to end in order would be to wait for the broker after all


def _show(found: Sequence[Finding], *, as_json: bool) -> None:
    from waybill.cli.screen import document, flagged, line  # noqa: PLC0415 - `waybill --help` need not load it

    if as_json:
        document([msgspec.structs.asdict(finding) for finding in found])
        return
    for finding in found:
        first, *others = _laid_out(finding)
        flagged("!!" if finding.trouble else "ok", first, good=not finding.trouble)
        for other in others:
            line(f"    {other}")
    troubles = sum(finding.trouble is not None for finding in found)
    line(f"\n{troubles or 'no'} trouble{'s' if troubles > 1 else ''}")


def _laid_out(finding: Finding) -> list[str]:
    """What was looked at on the left, what was found on the right, in lines that fit."""
    from waybill.cli.screen import safe  # noqa: PLC0415 - `waybill --help` need not load it

    room = min(shutil.get_terminal_size().columns, WIDTH) - 4 - WHAT - 2
    said = [finding.value, finding.trouble or "", f"fix: {finding.fix}" if finding.fix else ""]
    lines = [part for text in said for part in textwrap.wrap(safe(text), room, break_on_hyphens=False)]
    what = safe(finding.what)
    if len(what) > WHAT:
        what, lines = what[: WHAT + 2 + room], ["", *lines]
    head, *rest = lines or [""]
    return [f"{what:<{WHAT}}  {head}".rstrip(), *(f"{'':<{WHAT}}  {part}" for part in rest)]
