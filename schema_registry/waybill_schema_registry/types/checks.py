"""Single values on their way to fastavro: what fastavro would write as something else is refused here.

It writes 1.5 as the long 1, "no" as true, and a naive datetime as whatever time it is where the process runs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final
from uuid import UUID

from waybill_schema_registry.types.shapes import Scalar

__all__ = ["EXACT", "MICROSECOND", "check_of"]

MICROSECOND: Final = timedelta(microseconds=1)
EXACT: Final[Mapping[str, str]] = {
    "boolean": "v is True or v is False",
    "long": "type(v) is int",
    "double": "type(v) is float",
    "string": "type(v) is str",
    "bytes": "type(v) is bytes",
    "date": "type(v) is date",
    "uuid": "type(v) is UUID",
    "timestamp-micros": "type(v) is datetime and v.tzinfo is not None",
    "timestamp-millis": "type(v) is datetime and v.tzinfo is not None",
    "local-timestamp-micros": "type(v) is datetime and v.tzinfo is None",
    "local-timestamp-millis": "type(v) is datetime and v.tzinfo is None",
    "time-micros": "type(v) is time and v.tzinfo is None",
    "time-millis": "type(v) is time and v.tzinfo is None",
}
"""By kind, in Python: when fastavro may have the value as it is. Else its check decides."""


def check_of(shape: Scalar) -> Callable[[Any], Any]:
    """What turns a value into what fastavro takes. Raises `TypeError` or `ValueError`."""
    if shape.kind == "decimal":
        return _decimal(shape)
    if shape.kind == "text":
        return _text(shape.python)
    if shape.kind == "fixed":
        return _fixed(shape.attributes["size"])
    return _CHECKS[shape.kind]


def _of(wanted: type, but: tuple[type, ...] = ()) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, wanted) and not isinstance(value, but):
            return value
        raise TypeError(f"{wanted.__name__}, not {type(value).__name__}")

    return check


_integer = _of(int, (bool,))
_boolean, _str, _bytes = _of(bool), _of(str), _of(bytes)


def _int32(value: Any) -> int:
    number: int = _integer(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"{number} has more than 32 bits")
    return number


def _double(value: Any) -> float:
    return float(value if isinstance(value, float) else _integer(value))


def _float32(value: Any) -> float:
    number: float = struct.unpack("<f", struct.pack("<f", _double(value)))[
        0
    ]  # too large: no infinity, as fastavro makes of it
    return number


def _timestamp(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"datetime, not {type(value).__name__}")
    if value.tzinfo is None:
        raise ValueError("a datetime without a zone is no point in time: give it one, or declare it as NaiveDatetime")
    return value


def _local(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"datetime, not {type(value).__name__}")
    if value.tzinfo is not None:
        raise ValueError("this datetime is declared without a zone, and has one")
    return value


def _time(value: Any) -> time:
    if not isinstance(value, time):
        raise TypeError(f"time, not {type(value).__name__}")
    if value.tzinfo is not None:
        raise ValueError("a time of day has no zone in Avro, and this one has")
    return value


def _timedelta(value: Any) -> int:
    if not isinstance(value, timedelta):
        raise TypeError(f"timedelta, not {type(value).__name__}")
    return value // MICROSECOND


def _null(value: Any) -> None:
    if value is not None:
        raise TypeError(f"None, not {type(value).__name__}")


def _bytearray(value: Any) -> bytes:
    return bytes(_of(bytearray)(value))


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int32,
    "long": _integer,
    "float": _float32,
    "double": _double,
    "string": lambda value: str.__str__(_str(value)),
    "bytes": _bytes,
    "bytearray": _bytearray,
    "date": _of(date, (datetime,)),
    "uuid": _of(UUID),
    "timedelta": _timedelta,
    "timestamp-micros": _timestamp,
    "timestamp-millis": _timestamp,
    "local-timestamp-micros": _local,
    "local-timestamp-millis": _local,
    "time-micros": _time,
    "time-millis": _time,
}


def _decimal(shape: Scalar) -> Callable[[Any], Decimal]:
    """fastavro counts the digits that are written down, not those of the number at its scale, so it would keep a larger one."""
    precision, scale = shape.attributes["precision"], shape.attributes.get("scale", 0)
    context = Context(prec=precision, traps=[Inexact, InvalidOperation])
    unit = Decimal(1).scaleb(-scale)

    def check(value: Any) -> Decimal:
        if not isinstance(value, Decimal):
            raise TypeError(f"Decimal, not {type(value).__name__}")
        try:
            exact = value.quantize(unit, context=context)
        except (Inexact, InvalidOperation):
            exact = Decimal("NaN")
        if not exact.is_finite():
            raise ValueError(f"{value} does not fit into {precision} digits, {scale} of them after the point")
        return exact

    return check


def _text(python: type) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, python):
            raise TypeError(f"{python.__name__}, not {type(value).__name__}")
        return str(value)

    return check


def _fixed(size: int) -> Callable[[Any], bytes]:
    def check(value: Any) -> bytes:
        if len(_bytes(value)) != size:
            raise ValueError(f"{size} bytes, not {len(value)}")
        return bytes(value)

    return check
