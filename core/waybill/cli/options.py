"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from waybill.cli.letters import REASONS, known_reason, not_empty

__all__ = [
    "App",
    "Dev",
    "Fingerprint",
    "Group",
    "Id",
    "Ids",
    "Json",
    "MessageType",
    "NewerThan",
    "OlderThan",
    "Oldest",
    "Reason",
    "TopicName",
    "Url",
    "Yes",
]

App: TypeAlias = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:APP", help="The application; else WAYBILL_APP, else `app` in waybill.toml."),
]
Url: TypeAlias = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The broker; else WAYBILL_URL, else waybill.toml.")
]
Dev: TypeAlias = Annotated[bool, typer.Option("--dev", help="Without a broker, use a file in the working directory.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
TopicName: TypeAlias = Annotated[str | None, typer.Option("--topic", metavar="TOPIC", help="Only this topic's.")]
Group: TypeAlias = Annotated[str | None, typer.Option("--group", metavar="GROUP", help="Only this group's.")]
Reason: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="REASON",
        callback=known_reason,
        help=f"Only those dead-lettered for this reason: {', '.join(REASONS)}.",
    ),
]
MessageType: TypeAlias = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only messages of this type.")
]
Fingerprint: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--fingerprint",
        metavar="MARK",
        callback=not_empty,
        help="Only those that failed alike, as `dlq groups` tells, or its beginning.",
    ),
]
Id: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", callback=not_empty, help="The message's id, or its beginning.")
]
Ids: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", callback=not_empty, help="Only this one, or its beginning. May be repeated."),
]
OlderThan: TypeAlias = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Dead for longer: 90s, 5m, 2h, 3d.")
]
NewerThan: TypeAlias = Annotated[str | None, typer.Option("--newer-than", metavar="AGE", help="Dead for less long.")]
Oldest: TypeAlias = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many; of each group, the oldest first.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do it. Without, it is only shown what would be done.")]
