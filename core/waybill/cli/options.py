"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["App", "Dev", "Group", "Json", "TopicName", "Url"]

App: TypeAlias = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:APP", help="The application; else WAYBILL_APP, else `app` in waybill.toml."),
]
Url: TypeAlias = Annotated[str | None, typer.Option("--url", help="The broker; else WAYBILL_URL, else waybill.toml.")]
Dev: TypeAlias = Annotated[bool, typer.Option("--dev", help="Without a broker, use a file in the working directory.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
TopicName: TypeAlias = Annotated[str | None, typer.Option("--topic", help="Only this topic's.")]
Group: TypeAlias = Annotated[str | None, typer.Option("--group", help="Only this group's.")]
