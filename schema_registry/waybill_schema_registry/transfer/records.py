"""One record of the topic `_schemas`, and the lines it is read from and written as (Confluent's `SchemaKey`, `SchemaValue` …)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from waybill_schema_registry.entities import AVRO, Metadata, Reference, RuleSet
from waybill_schema_registry.errors import Invalid

__all__ = ["FORMS", "Key", "Record", "SchemaValue", "read_line", "written"]

TIMES = ("CreateTime:", "LogAppendTime:")
"""What stands before a record's time where a console consumer prints it."""


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a record is about. subject: None for all. magic: as Confluent writes it."""

    keytype: str
    subject: str | None = None
    version: int | None = None
    magic: int = 0


class SchemaValue(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A version of a subject, with its text."""

    subject: str
    version: int
    id: int
    schema: str
    schema_type: str = AVRO
    references: tuple[Reference, ...] = ()
    metadata: Metadata | None = None
    rule_set: RuleSet | None = None
    deleted: bool = False


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """value: as JSON; None takes away what the key stands for. at: milliseconds since 1970. line: where it was read."""

    key: Key
    value: Mapping[str, Any] | None
    at: int | None = None
    line: int = 0


def read_line(text: str, line: int) -> Record | None:
    """A record as kafka-console-consumer prints it with `print.key=true` (`print.timestamp=true` as well, or not), as kcat does
    with -J, or `{"key": {…}, "value": {…}, "timestamp": …}`; nothing for an empty line. Raises `Invalid`."""
    if not text.strip():
        return None
    first, *rest = text.strip("\r\n").split("\t", 2 if text.startswith((*TIMES, "NO_TIMESTAMP")) else 1)
    try:
        if not rest:
            return _from_object(msgspec.json.decode(first, type=dict[str, Any]), line)
        at = _time(first)
        key, value = rest if len(rest) == 2 else (first, rest[0])
        return Record(key=_key(key), value=_value(value), at=at, line=line)
    except (
        msgspec.MsgspecError,
        UnicodeError,
        TypeError,
        KeyError,
        ArithmeticError,
        ValueError,
        RecursionError,
    ) as error:
        raise Invalid(f"line {line} is no record of `_schemas`: {error}") from None


def _from_object(found: Mapping[str, Any], line: int) -> Record:
    at = found.get("timestamp", found.get("ts"))
    value = found["value"] if "value" in found else found["payload"]
    return Record(key=_key(found["key"]), value=_value(value), at=None if at is None else int(at), line=line)


def _time(text: str) -> int | None:
    known = next((prefix for prefix in TIMES if text.startswith(prefix)), None)
    return int(text.removeprefix(known)) if known else None


def _key(key: Any) -> Key:
    return msgspec.json.decode(key, type=Key) if isinstance(key, str) else msgspec.convert(key, Key)


def _value(value: Any) -> Mapping[str, Any] | None:
    found: Any = msgspec.json.decode(value) if isinstance(value, str) and value.strip() else value or None
    if found is not None and not isinstance(found, dict):
        raise TypeError("its value is neither an object nor null")
    return found  # pyright: ignore[reportUnknownVariableType] - it was JSON


def _console(record: Record) -> str:
    return f"{_json(_whole(record.key))}\t{_json(record.value)}"


def _object(record: Record) -> str:
    found = {"key": _whole(record.key), "value": record.value}
    return _json(found if record.at is None else found | {"timestamp": record.at})


FORMS: dict[str, Callable[[Record], str]] = {"lines": _object, "console": _console}
"""`lines`: an object a line, with the times. `console`: as kafka-console-producer takes it with `parse.key=true`."""


def written(record: Record, form: str) -> str:
    """The record as a line, without its end."""
    return FORMS[form](record)


def _whole(key: Key) -> dict[str, Any]:
    """In Confluent's order; a key that is spelled otherwise is another key to Kafka."""
    found: dict[str, Any] = {"keytype": key.keytype, "subject": key.subject}
    if key.version is not None:
        found["version"] = key.version
    return found | {"magic": key.magic}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
