"""Defaults of schemas as expressions of Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context
from typing import Any
from uuid import UUID

from waybill_schema_registry.formats.avro.schema import Array, Enum, Fixed, Map, Node, Primitive, Record, Union
from waybill_schema_registry.types.source.annotations import kind_of, precision_of
from waybill_schema_registry.types.source.texts import literal

__all__ = ["Defaults", "Inexact", "json_literal"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Inexact(Exception):
    """Python's value would not come out as this default: it is of no sort, or of a later branch, or says less than all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """classes: full names to names of classes. members: of an enum's symbols, fields: of a record's fields, by full name.
    there: the full names of classes that are defined already."""

    classes: Mapping[str, str]
    members: Mapping[str, Mapping[str, str]]
    fields: Mapping[str, Mapping[str, str]]
    there: set[str]

    def expression(self, node: Node, value: Any) -> str:
        """Raises `Inexact`."""
        if isinstance(node, Union):
            return self.expression(node.branches[0], value)
        if isinstance(node, Array):
            return f"[{', '.join(self.expression(node.items, item) for item in _as(list, value))}]"
        if isinstance(node, Map):
            pairs = (f"{literal(key)}: {self.expression(node.values, item)}" for key, item in _as(dict, value).items())
            return f"{{{', '.join(pairs)}}}"
        if isinstance(node, Record):
            return self._record(node, _as(dict, value))
        if isinstance(node, Enum):
            return self._symbol(node, value)
        try:
            return _scalar(node, value)
        except (ValueError, OverflowError, ArithmeticError, TypeError, KeyError) as error:
            raise Inexact from error

    def _symbol(self, node: Enum, value: Any) -> str:
        member = self.members[node.fullname].get(value) if isinstance(value, str) else None
        if member is None:
            raise Inexact
        return f"{self.classes[node.fullname]}.{member}"

    def _record(self, node: Record, value: Mapping[str, Any]) -> str:
        if node.fullname not in self.there or list(value) != [field.name for field in node.fields]:
            raise Inexact
        names = self.fields[node.fullname]
        arguments = (f"{names[field.name]}={self.expression(field.type, value[field.name])}" for field in node.fields)
        return f"{self.classes[node.fullname]}({', '.join(arguments)})"


def json_literal(value: Any) -> str:
    """A JSON value in Python."""
    if isinstance(value, str):
        return literal(value)
    if type(value) is list:
        return f"[{', '.join(map(json_literal, _as(list, value)))}]"
    if type(value) is dict:
        return f"{{{', '.join(f'{literal(key)}: {json_literal(item)}' for key, item in _as(dict, value).items())}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _as(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise Inexact
    return value


def _scalar(node: Primitive | Fixed, value: Any) -> str:
    digits = precision_of(node)
    if digits is not None:
        unscaled = int.from_bytes(_latin(value), "big", signed=True)
        return f'Decimal("{Context(prec=digits[0]).create_decimal(unscaled).scaleb(-digits[1])}")'
    if isinstance(node, Fixed):
        return _bytes(value)
    return _EXPRESSIONS[kind_of(node)](value)


def _latin(value: Any) -> bytes:
    found: bytes = _as(str, value).encode("iso-8859-1")
    return found


def _bytes(value: Any) -> str:
    raw = _latin(value)
    return repr(raw) if b'"' in raw else 'b"' + repr(raw + b'"')[2:-2] + '"'


def _number(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Inexact
    return repr(value)


def _float(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise Inexact
    return repr(float(value))


def _boolean(value: Any) -> str:
    return repr(_as(bool, value))


def _null(value: Any) -> str:
    return repr(_as(type(None), value))


def _uuid(value: Any) -> str:
    if str(UUID(_as(str, value))) != value:
        raise Inexact
    return f'UUID("{value}")'


def _timedelta(value: Any) -> str:
    micros = int(_number(value))
    return f"timedelta(microseconds={micros})" if micros % 1_000_000 else f"timedelta(seconds={micros // 1_000_000})"


def _date(value: Any) -> str:
    day = date(1970, 1, 1) + timedelta(days=_as(int, value))
    return f"date({day.year}, {day.month}, {day.day})"


def _time(unit: timedelta) -> Callable[[Any], str]:
    def expression(value: Any) -> str:
        after = _as(int, value) * unit
        if not timedelta() <= after < timedelta(days=1):
            raise Inexact
        return _clock("time", (_EPOCH + after).time())

    return expression


def _moment(unit: timedelta, zone: str) -> Callable[[Any], str]:
    def expression(value: Any) -> str:
        moment = _EPOCH + _as(int, value) * unit
        day = f"{moment.year}, {moment.month}, {moment.day}, "
        return _clock("datetime", moment.time(), day, zone)

    return expression


def _clock(name: str, at: time, before: str = "", after: str = "") -> str:
    micros = f", {at.microsecond}" if at.microsecond else ""
    return f"{name}({before}{at.hour}, {at.minute}, {at.second}{micros}{after})"


_MICROS, _MILLIS = timedelta(microseconds=1), timedelta(milliseconds=1)
_EXPRESSIONS: Mapping[str, Callable[[Any], str]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _number,
    "long": _number,
    "float": _float,
    "double": _float,
    "bytes": _bytes,
    "string": lambda value: literal(_as(str, value)),
    "uuid": _uuid,
    "date": _date,
    "timedelta-micros": _timedelta,
    "time-millis": _time(_MILLIS),
    "time-micros": _time(_MICROS),
    "timestamp-millis": _moment(_MILLIS, ", tzinfo=UTC"),
    "timestamp-micros": _moment(_MICROS, ", tzinfo=UTC"),
    "local-timestamp-millis": _moment(_MILLIS, ""),
    "local-timestamp-micros": _moment(_MICROS, ""),
}
