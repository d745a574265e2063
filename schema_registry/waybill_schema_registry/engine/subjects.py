"""Names of subjects and contexts, as Confluent's `QualifiedSubject` has them.

A subject `orders-value` stands in the default context `.`; `:.eu:orders-value` in the context `.eu`. `:.eu:` alone is the
context, `:*:` any context, `:.__GLOBAL:` what configs and modes are said for above all contexts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from waybill_schema_registry.errors import Invalid

__all__ = [
    "ANY",
    "CONTROL",
    "DEFAULT",
    "GLOBAL",
    "Name",
    "checked",
    "context_of",
    "qualified",
    "scope_of",
    "split",
    "within",
]

DEFAULT = "."
ANY = "*"
GLOBAL = ":.__GLOBAL:"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Name(NamedTuple):
    """A context, and a subject in it. An empty subject may be one, or mean the whole context."""

    context: str
    subject: str

    @property
    def qualified(self) -> str:
        return qualified(self.context, self.subject)

    @property
    def scope(self) -> str:
        """The context alone, as configs and modes name it."""
        return qualified(self.context, "")


def split(name: str) -> Name:
    """Take a name apart. Anything is a name."""
    if name[:2] == ":.":
        context, _, subject = name[1:].partition(":")
        return Name(context, subject)
    if name[:3] == ":*:":
        return Name(ANY, name[3:])
    return Name(DEFAULT, name)


def qualified(context: str, subject: str) -> str:
    """The one spelling of a subject in a context."""
    return subject if context == DEFAULT else f":{context}:{subject}"


def context_of(context: str) -> str:
    """A context as `GET /contexts` has it, from any spelling: `eu`, `.eu`, `:.eu:`. Raises `Invalid` (42208)."""
    bare = context.removeprefix(":").removesuffix(":")
    if ":" in bare or CONTROL.search(bare):
        raise Invalid(f"The specified context '{context}' is not a valid context: leave out the colons", code=42208)
    return bare if bare.startswith(".") else f".{bare}"


def scope_of(scope: str | None) -> str:
    """A scope of configs and modes: a qualified subject, a context, or `` for all of the default context."""
    return "" if scope is None else split(scope).qualified


def checked(name: str, *, longest: int, scope: bool = False) -> Name:
    """A name that may be written to. scope: it may be a context that has configs and modes only. Raises `Invalid` (42208)."""
    parts = split(name)
    refused = (
        CONTROL.search(name)
        or parts.subject in ("__GLOBAL", "__EMPTY")
        or parts.context == ANY
        or (not scope and parts.scope == GLOBAL)
    )
    if refused:
        raise Invalid(f"The specified subject '{CONTROL.sub('?', name)}' is not a valid.", code=42208)
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise Invalid("The specified subject is not valid Unicode: leave out lone surrogates", code=42208) from None
    if size > longest:
        raise Invalid(f"The specified subject is too long: {size} bytes, where {longest} are taken", code=42208)
    return parts


def within(outer: Name, inner: Name) -> bool:
    """Whether a subject matches a prefix: `:*:` reaches into every context."""
    return outer.context in (ANY, inner.context) and inner.subject.startswith(outer.subject)
