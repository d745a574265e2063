"""From changes to what is kept of them, the same in every database: pure functions.

A commit is a row of the log, `revisions`: its number, when it was, and its changes as JSON, without texts. The log is what `changes`
reads. The tables beside it (`schemas`, `references`, `versions`, `configs`, `modes`, `records`) hold the present state for the
constraints, for the texts, and for whoever looks in with SQL; each row names the revision that wrote it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from waybill_schema_registry.entities import Metadata, Reference, RuleSet, Schema
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.store import Change, ConfigSet, Moved, SchemaAdded

__all__ = ["about", "check_after", "logged", "now", "read_log", "references", "row", "schema"]


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a schema is beside its text and its format."""

    references: tuple[Reference, ...] = ()
    metadata: Metadata | None = None
    rules: RuleSet | None = None


_about = msgspec.json.Decoder(About)
_log = msgspec.json.Decoder(tuple[Change, ...])


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def check_after(after: int, last: int, name: str) -> None:
    """Raise `Moved` if somebody has committed since, `StoreError` if what was read is no longer there."""
    if after < last:
        raise Moved
    if after > last:
        raise StoreError(
            f"{name} is at revision {last}, and {after} was read from it before: it was put back to an older state. Restart all "
            f"registries that use it"
        )


def logged(changes: Sequence[Change]) -> str:
    """As they stand in the log. Raises `StoreError` for what is no Unicode text."""
    without = [msgspec.structs.replace(c, schema=None) if isinstance(c, SchemaAdded) else c for c in changes]
    try:
        msgspec.json.encode(changes)  # the texts as well
        return msgspec.json.encode(without).decode()
    except UnicodeEncodeError as error:
        raise StoreError(f"half of a surrogate pair cannot be kept: {error.reason} at {error.start}") from None


def read_log(rows: Sequence[tuple[int, str]]) -> tuple[int, Sequence[Change]] | None:
    """The last revision of some rows of the log, and all that leads there; nothing for none."""
    return (rows[-1][0], [change for _, kept in rows for change in _log.decode(kept)]) if rows else None


def row(change: Change, revision: int) -> dict[str, Any]:
    """The columns of a change's row; `type` says of which kind it is. What is taken away has None in the place of its value."""
    found: dict[str, Any] = msgspec.to_builtins(change, builtin_types=(bytes,)) | {"revision": revision}
    if isinstance(change, SchemaAdded):
        del found["schema"], found["references"]
        if change.schema is None:
            raise StoreError(f"schema {change.id} of {change.context} was added without a text")
        found |= {"format": change.schema.format, "text": change.schema.text, "about": about(change.schema)}
    elif isinstance(change, ConfigSet) and change.config is not None:
        found["config"] = msgspec.json.encode(change.config).decode()
    return found


def about(schema: Schema) -> str:
    """As JSON."""
    rest = About(references=schema.references, metadata=schema.metadata, rules=schema.rules)
    return msgspec.json.encode(rest).decode()


def schema(format_: str, text: str, rest: str) -> Schema:
    """As it was added."""
    found = _about.decode(rest)
    return Schema(text=text, format=format_, references=found.references, metadata=found.metadata, rules=found.rules)


def references(change: SchemaAdded) -> list[dict[str, Any]]:
    """To which versions a schema refers, a row each."""
    return [
        {
            "context": change.context,
            "id": change.id,
            "place": place,
            "name": reference.name,
            "to_version": reference.version,
        }
        | dict(zip(("to_context", "to_subject"), _places(reference.subject), strict=True))
        for place, reference in enumerate(change.references)
    ]


def _places(subject: str) -> tuple[str, str]:
    """The context and the subject of `:.context:subject`; a plain one is of the default context."""
    if not subject.startswith(":."):
        return ".", subject
    context, _, rest = subject[1:].partition(":")
    return context, rest
