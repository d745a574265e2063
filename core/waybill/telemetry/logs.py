"""Logs without secrets, as text or as one JSON object a line, with what the running handling is about.

    handler.setFormatter(JsonFormatter())

`waybill run` does that itself: `log_format = "json"` in `waybill.toml`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from operator import is_not
from typing import TYPE_CHECKING, Any, cast

import msgspec

from waybill.envelope import trace
from waybill.errors import describe
from waybill.handling import current_batch, current_handling
from waybill.observing import about
from waybill.redaction import MASK, looks_secret, redact, secrets_of

if TYPE_CHECKING:
    from waybill.message import Message
    from waybill.settings import Settings

__all__ = ["JsonFormatter", "TextFormatter", "formatter"]

LINE = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
OURS = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
"""What every record has; all else was given as `extra`."""
OWN = frozenset({"time", "level", "logger", "error", "stack"})
"""What is said of each line in the same way, whatever was given."""


def formatter(settings: Settings) -> logging.Formatter:
    """The one that the settings ask for (`log_format`, `redact`)."""
    kind = JsonFormatter if settings.log_format == "json" else TextFormatter
    return kind(marked=settings.redact)


class TextFormatter(logging.Formatter):
    """Lines for people, without what looks like a secret, and without what the handled message holds under a secret name."""

    def __init__(self, *, marked: Collection[str] = ()) -> None:
        """`marked`: names of headers and fields that are secret as well; `Settings.redact`."""
        super().__init__(LINE)
        self._secrets = _Secrets(marked)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self._secrets.now())


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `process`, `message`, and what was given as `extra`.

    While a message is handled: `message_id`, `correlation_id`, `topic`, `group`, `attempt`, and `trace_id`, with `span_id` where
    OpenTelemetry has a span. Of an exception: `error` with `type`, `text` and `stack`; of `stack_info`: `stack`. An extra that is
    named like one of these and says something else is told as `extra_…`. Secrets are left out as in text.
    """

    def __init__(self, *, marked: Collection[str] = ()) -> None:
        """`marked`: names of headers, fields and extras that are secret as well; `Settings.redact`."""
        super().__init__()
        self._secrets = _Secrets(marked)

    def format(self, record: logging.LogRecord) -> str:
        secrets = self._secrets.now()
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": redact(record.getMessage(), secrets),
            **_handled(),
        }
        for name, value in vars(record).items():
            if name not in OURS:
                plain = MASK if self._secrets.hides(name) else _plain(value, secrets)
                taken = name in OWN or (name in told and told[name] != plain)
                told[f"extra_{name}" if taken else name] = plain
        if record.stack_info:
            told["stack"] = redact(self.formatStack(record.stack_info), secrets)
        if record.exc_info and (error := record.exc_info[1]) is not None:
            told["error"] = {
                "type": f"{type(error).__module__}.{type(error).__qualname__}",
                "text": redact(describe(error), secrets),
                "stack": redact(self.formatException(record.exc_info), secrets),
            }
        try:
            return msgspec.json.encode(told).decode()
        except UnicodeEncodeError:  # halves of surrogate pairs: the name of a file, for instance, may be any bytes
            return msgspec.json.encode(_whole(told)).decode()


class _Secrets:
    """What the messages that are handled now hold under secret names. An error may quote it anywhere."""

    def __init__(self, marked: Collection[str]) -> None:
        self._marked = frozenset(name.lower() for name in marked)
        self._last: tuple[Sequence[Message], list[str]] = (), []
        """A handler may log a lot."""

    def hides(self, name: str) -> bool:
        return looks_secret(name, self._marked)

    def now(self) -> list[str]:
        held = current_handling.get()
        messages = [each.delivery.message for each in (current_batch.get() if held is None else (held,))]
        last = self._last
        if len(last[0]) != len(messages) or any(map(is_not, last[0], messages)):
            found = {secret for message in messages for secret in secrets_of(message, self._marked)}
            self._last = last = messages, sorted(found, key=len, reverse=True)
        return last[1]


def _handled() -> dict[str, Any]:
    held = current_handling.get()
    span = _span()
    if held is None:
        return span
    parent, _ = trace(held.delivery.message)
    followed = {} if parent is None or span else {"trace_id": parent.split("-")[1]}
    return {**about(held.delivery), **followed, **span}


def _span() -> dict[str, str]:
    """OpenTelemetry's, where somebody uses it."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return {}
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _whole(told: Any) -> Any:
    """The same in whole characters."""
    if isinstance(told, dict):
        return {_whole(name): _whole(value) for name, value in cast("dict[str, Any]", told).items()}
    return told.encode("utf-8", "backslashreplace").decode() if isinstance(told, str) else told


def _plain(value: object, secrets: Collection[str]) -> object:
    """As what JSON has: of a class of its own even a number would lose the line."""
    if value is None or type(value) in (bool, int, float):
        return value
    try:
        if isinstance(value, int):
            return int.__int__(value)
        if isinstance(value, float):
            return float.__float__(value)
        text = str.__str__(value) if isinstance(value, str) else repr(value)
    except Exception as error:  # noqa: BLE001 - a user's class
        text = f"<{type(value).__qualname__}.__repr__ raised {type(error).__qualname__}>"
    return redact(text, secrets)
