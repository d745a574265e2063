"""A request as operations see it: its subject, its parameters in both spellings, its body."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.engine.subjects import split
from waybill_schema_registry.engine.view import referred
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import Forbidden, Invalid
from waybill_schema_registry.server.failures import Refused
from waybill_schema_registry.server.rights import Right, User
from waybill_schema_registry.server.routing import Route

__all__ = ["Ask", "Services", "decoded", "in_context", "qualified", "version_of"]

Body = TypeVar("Body")

MAX_INT = 2**31 - 1
NUMBER = re.compile(r"[+-]?\d{1,10}")
MALFORMED = "The body cannot be read as it is expected here: {}"


@dataclass(frozen=True, slots=True)
class Services:
    """What a server knows of itself: its metrics as text, the document of its API as JSON."""

    metrics: Callable[[], str]
    document: Callable[[], bytes]


class Ask:
    """One request. Nothing of it waits."""

    __slots__ = (
        "_parameters",
        "body",
        "context",
        "engine",
        "named",
        "path",
        "query",
        "route",
        "services",
        "subject",
        "user",
    )

    def __init__(
        self,
        engine: Engine,
        route: Route,
        values: Mapping[str, str],
        query: bytes,
        body: bytes = b"",
        *,
        user: User,
        context: str = "",
        services: Services,
    ) -> None:
        """values: of the path, not decoded. context: `:.context:` where the path began with it."""
        self.engine = engine
        self.route = route
        self.path = {name: decoded(value) for name, value in values.items()}
        self.query = query
        self.body = body
        self.user = user
        self.context = in_context(self.path["context"]) if "context" in self.path else context
        self.subject = qualified(self.path["subject"], context) if "subject" in self.path else self.context
        """Of the path, in its context; without one the context itself, as `:.context:`; else empty."""
        self.named = self.subject
        """As the path has it; the subject that is meant is another one where this is an alias."""
        self.services = services
        self._parameters: dict[str, list[str]] | None = None

    # ------------------------------------------------------------------ the query

    def texts(self, name: str) -> list[str]:
        """All values of a parameter: `subjectPrefix`, `subject_prefix` and `subjectprefix` are the same."""
        if self._parameters is None:
            self._parameters = {}
            for key, value in parse_qsl(self.query.decode("latin-1"), keep_blank_values=True):
                self._parameters.setdefault(_plain(key), []).append(value)
        return self._parameters.get(_plain(name), [])

    def text(self, name: str) -> str | None:
        found = self.texts(name)
        return found[0] if found else None

    def flag(self, name: str) -> bool:
        """`true` in any case; anything else is false, as Java has it."""
        return (self.text(name) or "").lower() == "true"

    def number(self, name: str, default: int) -> int:
        text = self.text(name)
        if text is None or not text.strip():
            return default
        if not NUMBER.fullmatch(text.strip()) or abs(int(text)) > MAX_INT:
            raise Refused(400, f"The parameter {name} must be a whole number of 32 bits, not {text[:40]!r}")
        return int(text)

    def page(self, most: int | None = None) -> slice:
        """Of a list, by `offset` and `limit`. most: the limit where there is none, and the highest one."""
        offset, limit = max(0, self.number("offset", 0)), self.number("limit", -1)
        if limit < 0 or (most is not None and limit > most):
            return slice(offset, None if most is None else offset + most)
        return slice(offset, offset + limit)

    @property
    def normalize(self) -> bool | None:
        """None: nothing was said, so the config decides."""
        return None if self.text("normalize") is None else self.flag("normalize")

    # ------------------------------------------------------------------ the path

    @property
    def scope(self) -> str | None:
        """Of a config or a mode: a subject, a context, or None for all."""
        return self.subject if "subject" in self.path or self.context else None

    @property
    def version(self) -> int | Literal["latest"]:
        return version_of(self.path["version"])

    @property
    def id(self) -> int:
        """An id that cannot be one is a path that leads nowhere."""
        text = self.path["id"]
        if not NUMBER.fullmatch(text) or not 0 <= int(text) <= MAX_INT:
            raise Refused(404)
        return int(text)

    # ------------------------------------------------------------------ the body, and who asks

    def read(self, kind: type[Body]) -> Body:
        """The body. Members that are not known are ignored. Raises `Refused` (400, 422)."""
        if not self.body.strip():
            raise Refused(422, "The body is empty; it must be a JSON object")
        try:
            return msgspec.json.decode(self.body, type=kind)
        except RecursionError:
            raise Refused(400, MALFORMED.format("it is nested too deep")) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(400, MALFORMED.format(error)) from error

    def demand(self, right: Right, subject: str | None = None) -> None:
        """Raises `Forbidden` if who asks has less than this right to the subject (if not given, that of the path)."""
        subject = self.subject if subject is None else subject
        if self.user.right(subject) < right:
            what = f"the subject {subject!r}" if subject else "what is global"
            raise Forbidden(
                f"User {self.user.name!r} is denied {right.name.lower()} on {what}. Ask who runs this registry for the right.",
                code=403,
            )

    def demand_references(self, schema: Schema, subject: str) -> None:
        """Raises `Forbidden` where a schema of this subject refers to one that may not be read: it would show its text."""
        context = split(subject).context
        for reference in schema.references:
            self.demand(Right.READ, referred(context, reference).qualified)

    def may_read(self, subject: str) -> bool:
        return self.user.right(subject) >= Right.READ


def decoded(segment: str) -> str:
    """A segment of the path without its percent signs. Raises `Refused` (400) if it is no UTF-8."""
    try:
        return unquote(segment, errors="strict") if "%" in segment else segment
    except UnicodeDecodeError:
        raise Refused(400, "The path must be UTF-8, with its special characters percent-encoded") from None


def in_context(name: str) -> str:
    """`:.name:`, as subjects have it before them, for a context's name with or without its dot; empty for the default."""
    name = name.removeprefix(":").removesuffix(":").removeprefix(".")
    return f":.{name}:" if name else ""


def qualified(subject: str, context: str) -> str:
    """The one spelling of a subject in the context of the path, unless it names one itself: `:.:orders` is `orders`."""
    return split(subject if not context or subject.startswith((":.", ":*:")) else context + subject).qualified


def version_of(text: str) -> int | Literal["latest"]:
    """A version of the path. Raises `Invalid` (42202)."""
    text = text.strip()
    if text.lower() == "latest" or text == "-1":
        return "latest"
    if NUMBER.fullmatch(text) and 1 <= int(text) <= MAX_INT:
        return int(text)
    raise Invalid(
        f"The specified version '{text[:40]}' is not a valid version id. "
        'Allowed values are between [1, 2^31-1] and the string "latest"',
        code=42202,
    )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
