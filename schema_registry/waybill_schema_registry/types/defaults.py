"""Defaults of fields, as Avro's JSON has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any

from waybill_schema_registry.types.branches import branch_of
from waybill_schema_registry.types.checks import MICROSECOND
from waybill_schema_registry.types.members import Member
from waybill_schema_registry.types.refusal import NoCounterpart
from waybill_schema_registry.types.shapes import ABSENT, Array, Enumeration, Map, Record, Scalar, Shape, Union
from waybill_schema_registry.types.writing import checked

__all__ = ["default_of", "first_branch", "json_of"]

_EMPTY = (list, dict, set, frozenset, tuple)


def default_of(member: Member, shape: Shape, path: str) -> Any:
    """A field's default as a Python value, or ABSENT.

    A default that is made anew each time is none in Avro, where it is a value in the schema, unless it is always the same:
    an empty list and the like, or a class all of whose fields have defaults. Raises `NoCounterpart` for one that Avro's JSON
    cannot hold.
    """
    if member.may_miss:
        return None
    value = member.default
    if member.factory is not None:
        value = member.factory() if _is_constant(member.factory, shape) else ABSENT
    if value is ABSENT:
        return ABSENT
    try:
        json_of(first_branch(shape, value), value)
    except (TypeError, ValueError, KeyError) as error:
        raise NoCounterpart(
            f"{path}: its default {value!r} is none in Avro ({error}): change it, or use a default_factory, "
            f"which Avro does without"
        ) from error
    return value


def first_branch(shape: Shape, default: Any) -> Shape:
    """A union with the branch of its default first, as Avro wants it; the others as they were."""
    if default is ABSENT or not isinstance(shape, Union):
        return shape
    chosen = branch_of(shape, default)
    if chosen is None:
        return shape
    rest = [branch for branch in shape.branches if branch is not chosen]
    return Union(branches=[chosen, *rest], sure=shape.sure)


def json_of(shape: Shape, value: Any) -> Any:
    """A Python value as the JSON of a default. Raises `TypeError`, `ValueError` or `KeyError`, with the reason."""
    if isinstance(shape, Union):
        chosen = branch_of(shape, value)
        if chosen is not shape.branches[0]:
            raise ValueError("a union's default is of its first type")
        return json_of(shape.branches[0], value)
    if isinstance(shape, Scalar):
        return _scalar(shape, value)
    if isinstance(shape, Enumeration):
        return shape.write[value]
    if isinstance(shape, Array):
        items = [json_of(shape.items, item) for item in checked(shape, value)]
        return items if shape.python in (list, tuple) else sorted(items, key=repr)
    if isinstance(shape, Map):
        return {key: json_of(shape.values, item) for key, item in checked(shape, value).items()}
    return _record(shape, value)


def _record(shape: Record, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in shape.fields:
        if shape.kind == "typed_dict":
            item = value.get(field.attribute) if field.may_miss else value[field.attribute]
        else:
            item = getattr(value, field.attribute)
        found[field.name] = json_of(field.shape, item)
    return found


def _scalar(shape: Scalar, value: Any) -> Any:
    datum = checked(shape, value)
    if shape.kind in _AS_NUMBER:
        return _AS_NUMBER[shape.kind](datum)
    if shape.kind == "decimal":
        return _decimal(shape, datum).decode("iso-8859-1")
    if isinstance(datum, bytes):
        return datum.decode("iso-8859-1")
    if isinstance(datum, float) and not math.isfinite(datum):
        raise ValueError("JSON has no infinity and no NaN")
    if shape.kind == "long" and not -(2**63) <= datum < 2**63:
        raise ValueError("it has more than 64 bits")
    return str(datum) if shape.kind in ("uuid", "string") else datum


def _decimal(shape: Scalar, value: Decimal) -> bytes:
    unscaled = int(value.scaleb(shape.attributes.get("scale", 0), Context(prec=shape.attributes["precision"])))
    size = shape.attributes.get("size") or (unscaled.bit_length() + 8) // 8
    return unscaled.to_bytes(size, "big", signed=True)


def _instant(moment: datetime, unit: timedelta) -> int:
    start = datetime(1970, 1, 1, tzinfo=UTC if moment.tzinfo else None)
    return (moment - start) // unit


def _of_day(moment: time, unit: timedelta) -> int:
    return (
        timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second, microseconds=moment.microsecond)
        // unit
    )


_MILLISECOND = timedelta(milliseconds=1)
_AS_NUMBER: Mapping[str, Callable[[Any], int]] = {
    "date": lambda day: (day - date(1970, 1, 1)).days,
    "time-micros": lambda moment: _of_day(moment, MICROSECOND),
    "time-millis": lambda moment: _of_day(moment, _MILLISECOND),
    "timestamp-micros": lambda moment: _instant(moment, MICROSECOND),
    "timestamp-millis": lambda moment: _instant(moment, _MILLISECOND),
    "local-timestamp-micros": lambda moment: _instant(moment, MICROSECOND),
    "local-timestamp-millis": lambda moment: _instant(moment, _MILLISECOND),
}


def _is_constant(factory: Callable[..., Any], shape: Shape) -> bool:
    if factory in _EMPTY:
        return True
    if isinstance(shape, Record) and factory is shape.python:
        return all(field.default is not ABSENT and field.json is ABSENT for field in shape.fields)
    return False
