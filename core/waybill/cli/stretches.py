"""Which part of a topic's history: the options of `replay` and `seek`, and what they mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import typer

from waybill.cli.letters import duration
from waybill.errors import ConfigurationError
from waybill.history import Stretch

__all__ = ["First", "FirstKey", "Keys", "Last", "LastKey", "Since", "Until", "stretch_of"]

Since: TypeAlias = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Published then or later: 2h (ago), or 2026-11-20T08:00:00Z."),
]
Until: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Published before, written as for --since.")
]
First: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--first", metavar="POSITION", help="From this one on, e.g. orders/3@1200. May be repeated, once a partition."
    ),
]
Last: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--last", metavar="POSITION", help="Up to this one. May be repeated, once a partition."),
]
Keys: TypeAlias = Annotated[
    list[str] | None, typer.Option("--key", metavar="KEY", help="Only of this key. May be repeated.")
]
FirstKey: TypeAlias = Annotated[
    str | None, typer.Option("--first-key", metavar="KEY", help="Only of keys from this on.")
]
LastKey: TypeAlias = Annotated[str | None, typer.Option("--last-key", metavar="KEY", help="Only of keys up to this.")]


def stretch_of(
    since: str | None,
    until: str | None = None,
    first: list[str] | None = None,
    last: list[str] | None = None,
    *,
    keys: list[str] | None = None,
    between: tuple[str | None, str | None] = (None, None),
) -> Stretch:
    """Raises `ConfigurationError`. `between`: the first and the last key."""
    first_key, last_key = between
    return Stretch(
        since=_time("--since", since),
        until=_time("--until", until),
        first=tuple(first or ()),
        last=tuple(last or ()),
        keys=frozenset(keys or ()),
        first_key=first_key,
        last_key=last_key,
    )


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        ago = duration(option, text)
        return None if ago is None else datetime.now(UTC) - ago
    if found.tzinfo is None:
        raise ConfigurationError(f"{option} {text}: say in which time zone, e.g. {text}Z for UTC")
    return found
