"""What an error says of its message, and of the others: a table from exception classes to kinds. Pure.

    transient   it may work the next time                     tried again by the policy
    systemic    whatever the message: a dependency is down    tried again by the policy; breakers are told
    permanent   this message will not work here, ever         dead-lettered at once
    poison      the message itself is broken                  dead-lettered at once

The first that knows the error decides: the handler's own table (`consume(errors=…)`), the application's (`App(errors=…)`),
the retry policy where it names the class (`never`, `per`), then `USUAL`. In each the most specific class counts. What
nobody knows is transient, since a second attempt costs less than a message given up in vain. Of a group of errors, as a
`TaskGroup` raises it, each is looked at by itself, unless the class of the group is named; the gravest kind counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from waybill.errors import ConfigurationError, Reject, classes_of, parts_of

__all__ = ["GIVEN_UP", "ErrorTable", "Kind", "Kinds", "Verdict", "disposition", "gravest", "status_of", "usual"]

Kind: TypeAlias = Literal["transient", "systemic", "permanent", "poison"]
Verdict: TypeAlias = Kind | Callable[[BaseException], Kind | None]
"""A kind, or what looks at the error itself; `None` from it: look on, as if the class were not in the table."""
ErrorTable: TypeAlias = Mapping[type[BaseException], Verdict]

log = logging.getLogger("waybill.classifying")

KINDS: tuple[Kind, ...] = get_args(Kind)
GIVEN_UP: frozenset[Kind] = frozenset({"permanent", "poison"})
"""What is not tried again."""
NONE: ErrorTable = MappingProxyType({})


class Kinds:
    """The tables of one subscription."""

    def __init__(self, own: ErrorTable = NONE, application: ErrorTable = NONE) -> None:
        """Raises `ConfigurationError` for what is no table of exception classes."""
        for table, name in ((own, "consume"), (application, "App")):
            _check(table, name)
        self._tables = tuple(table for table in (own, application) if table)

    def told(self, error: BaseException) -> Kind | None:
        """The kind by the tables that somebody wrote; `None`: they do not know it."""
        for table in self._tables:
            for cls in classes_of(error):
                verdict = table.get(cls)
                kind = _asked(verdict, error) if callable(verdict) else verdict
                if kind is not None:
                    return kind
        return None

    def named(self, kind: Kind) -> list[type[BaseException]]:
        """The classes that these tables call so, whatever a function may say of others."""
        seen: dict[type[BaseException], Verdict] = {}
        for table in self._tables:
            for cls, verdict in table.items():
                seen.setdefault(cls, verdict)
        return [cls for cls, verdict in seen.items() if verdict == kind]

    def of(self, error: BaseException) -> Kind:
        """The kind of an error, of a group of them the gravest."""
        if isinstance(error, Reject):
            return "poison"
        if (told := self.told(error)) is not None:
            return told
        parts = parts_of(error)
        return gravest(map(self.of, parts)) if parts else usual(error)


def gravest(kinds: Iterable[Kind]) -> Kind:
    """Of at least one."""
    return max(kinds, key=KINDS.index)


def usual(error: BaseException) -> Kind:
    """The kind of an error where nobody has said anything: by its class, else by the HTTP status it carries."""
    for cls in type(error).__mro__:
        place = (cls.__module__ or "").partition(".")[0]
        if (kind := USUAL.get(f"{place}.{cls.__name__}")) is not None:
            return kind
    return STATUS.get(status_of(error) or 0, "transient") if isinstance(error, Exception) else "transient"


def status_of(error: BaseException) -> int | None:
    """The HTTP status of the answer that made the error, as the usual clients carry it; `None`: it carries none of an error."""
    try:
        for holder in (getattr(error, "response", None), error):
            for name in ("status_code", "status", "code"):
                found = getattr(holder, name, None)
                if isinstance(found, int) and 400 <= found <= 599:
                    return found
    except Exception:  # noqa: BLE001 - somebody else's class, which breaks when looked at: it says nothing
        return None
    return None


USUAL: Mapping[str, Kind] = MappingProxyType(
    {
        # the standard library; `socket.gaierror` and `ssl.SSLError` are found by these names
        "builtins.ConnectionError": "systemic",
        "socket.gaierror": "systemic",
        "ssl.SSLError": "systemic",
        "builtins.ImportError": "systemic",
        "builtins.NotImplementedError": "permanent",
        # what says that values are not what they must be
        "pydantic_core.ValidationError": "permanent",
        "msgspec.ValidationError": "permanent",
        "jsonschema.ValidationError": "permanent",
        # clients that find nobody there
        "httpx.ConnectError": "systemic",
        "httpx.ConnectTimeout": "systemic",
        "requests.ConnectionError": "systemic",
        "aiohttp.ClientConnectionError": "systemic",
        "urllib3.NewConnectionError": "systemic",
        "botocore.EndpointConnectionError": "systemic",
        "redis.ConnectionError": "systemic",
        "sqlalchemy.InterfaceError": "systemic",
        "asyncpg.PostgresConnectionError": "systemic",
        "asyncpg.CannotConnectNowError": "systemic",
    }
)
"""By the class's package and name, so that none of them has to be installed. A subclass counts as its nearest base."""

STATUS: Mapping[int, Kind] = MappingProxyType(
    {
        **dict.fromkeys((400, 405, 406, 410, 411, 413, 414, 415, 422, 451), "permanent"),
        **dict.fromkeys((401, 407, 502, 503, 504), "systemic"),
    }
)
"""By HTTP status; the others are transient: 404 and 409 may be otherwise a moment later, 403 once somebody has seen to it."""


def disposition(reason: str, kind: Kind | None = None) -> str:
    """What a dead letter's reason says of a redrive. `kind`: of its error, where there is one."""
    if reason == "retries_exhausted" or (reason == "expired" and kind is not None):
        return "systemic" if kind == "systemic" else "transient_exhausted"
    return DISPOSITIONS.get(reason, "")


DISPOSITIONS = {
    "decode_error": "poison",
    "rejected": "poison",
    "non_retryable": "poison",
    "crashed": "poison",
    "expired": "policy",
    "redrive_limit": "policy",
    "max_length": "policy",
}


def _asked(verdict: Callable[[BaseException], Kind | None], error: BaseException) -> Kind | None:
    try:
        kind = verdict(error)
    except Exception:
        log.exception("a table of errors failed on %s: it counts as not knowing it", type(error).__qualname__)
        return None
    if kind is not None and kind not in KINDS:
        log.error("a table of errors says %r of %s: that is no kind", kind, type(error).__qualname__)
        return None
    return kind


def _check(table: ErrorTable, name: str) -> None:
    if not isinstance(table, Mapping):
        raise ConfigurationError(
            f"{name}(errors={table!r}): write classes and their kinds: {{TimeoutError: 'systemic'}}"
        )
    for cls, verdict in table.items():
        if not isinstance(cls, type) or not issubclass(cls, BaseException):
            raise ConfigurationError(f"{name}(errors={{{cls!r}: …}}): that is no exception class")
        if not callable(verdict) and verdict not in KINDS:
            raise ConfigurationError(
                f"{name}(errors={{{cls.__name__}: {verdict!r}}}): one of {', '.join(KINDS)}, or a function that says which"
            )
