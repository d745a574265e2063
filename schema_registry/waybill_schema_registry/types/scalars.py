"""The types that contain no other: what each Python type is in Avro."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

import pydantic
from pydantic import AnyUrl

from waybill_schema_registry.types.marks import Bits, Fixed, Logical, Millis, Precision
from waybill_schema_registry.types.refusal import NoCounterpart
from waybill_schema_registry.types.shapes import Scalar

__all__ = ["KNOWN_LOGICAL", "scalar"]

_PLAIN: dict[Any, tuple[str, str]] = {
    type(None): ("null", "null"),
    bool: ("boolean", "boolean"),
    int: ("long", "long"),
    float: ("double", "double"),
    str: ("string", "string"),
    bytes: ("bytes", "bytes"),
    bytearray: ("bytearray", "bytes"),
    date: ("date", "int"),
    UUID: ("uuid", "string"),
    timedelta: ("timedelta", "long"),
}
_LOGICAL = {"date": "date", "uuid": "uuid", "timedelta": "timedelta-micros"}
KNOWN_LOGICAL = frozenset(
    {
        *(("bytes", "decimal"), ("fixed", "decimal"), ("int", "date"), ("string", "uuid")),
        *(("int", "time-millis"), ("long", "time-micros"), ("long", "timedelta-micros")),
        *(("long", f"{stem}timestamp-{unit}") for stem in ("", "local-") for unit in ("millis", "micros")),
    }
)
"""What has a Python class of its own, so that `Logical` is not for it."""

_PYDANTIC: dict[Any, Any] = {
    pydantic.AwareDatetime: datetime,
    pydantic.NaiveDatetime: datetime,
    pydantic.PastDatetime: datetime,
    pydantic.FutureDatetime: datetime,
    pydantic.PastDate: date,
    pydantic.FutureDate: date,
    pydantic.EmailStr: str,
}
_TEXTS = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
    PurePath,
    AnyUrl,
    getattr(pydantic.networks, "_BaseUrl", AnyUrl),
)
"""Types with one text each, from which their own validator makes them again."""


def scalar(annotation: Any, marks: Sequence[object]) -> Scalar | None:
    """The scalar that a type is, or None. Raises `NoCounterpart` where it is one that Avro cannot have so."""
    logical = next((mark for mark in marks if isinstance(mark, Logical)), None)
    if logical is not None:
        return _logical(annotation, logical, marks)
    if annotation in _PYDANTIC:
        shape = _timed(_PYDANTIC[annotation], marks, naive=annotation is pydantic.NaiveDatetime) or _plain(
            _PYDANTIC[annotation], marks
        )
        assert shape is not None  # noqa: S101 - each of the table is one
        shape.sure = annotation in (pydantic.AwareDatetime, pydantic.NaiveDatetime)
        return shape
    if annotation is Decimal:
        return _decimal(marks)
    return _timed(annotation, marks) or _plain(annotation, marks) or _text(annotation)


def _plain(annotation: Any, marks: Sequence[object]) -> Scalar | None:
    if annotation is None:
        annotation = type(None)
    if annotation not in _PLAIN:
        return None
    kind, avro = _PLAIN[annotation]
    bits = next((mark for mark in marks if isinstance(mark, Bits)), None)
    if bits is not None and kind in ("long", "double"):
        kind = avro = {"long": "int", "double": "float"}[kind]
    fixed = next((mark for mark in marks if isinstance(mark, Fixed)), None)
    if fixed is not None and annotation is bytes:
        return Scalar(kind="fixed", avro="fixed", python=bytes, attributes={"size": fixed.size})
    attributes = {"logicalType": _LOGICAL[kind]} if kind in _LOGICAL else {}
    return Scalar(kind=kind, avro=avro, python=annotation, attributes=attributes, sure=kind != "bytearray")


def _timed(annotation: Any, marks: Sequence[object], *, naive: bool = False) -> Scalar | None:
    if annotation is not datetime and annotation is not time:
        return None
    unit = "millis" if any(isinstance(mark, Millis) for mark in marks) else "micros"
    stem = "time" if annotation is time else "local-timestamp" if naive else "timestamp"
    avro = "int" if (annotation is time and unit == "millis") else "long"
    return Scalar(kind=f"{stem}-{unit}", avro=avro, python=annotation, attributes={"logicalType": f"{stem}-{unit}"})


def _decimal(marks: Sequence[object]) -> Scalar:
    precision = _precision(marks)
    if precision is None:
        raise NoCounterpart(
            "a Decimal of any size has no counterpart in Avro: say how many digits it has, as in "
            "Annotated[Decimal, Precision(12, 2)] or Field(max_digits=12, decimal_places=2)"
        )
    attributes: dict[str, Any] = {"logicalType": "decimal", "precision": precision.precision}
    if precision.scale:
        attributes["scale"] = precision.scale
    if precision.size is not None:
        attributes["size"] = precision.size
    avro = "bytes" if precision.size is None else "fixed"
    return Scalar(kind="decimal", avro=avro, python=Decimal, attributes=attributes)


def _precision(marks: Sequence[object]) -> Precision | None:
    digits: int | None = None
    places: int | None = None
    for mark in marks:
        if isinstance(mark, Precision):
            return mark
        digits = getattr(mark, "max_digits", None) or digits
        places = places if (found := getattr(mark, "decimal_places", None)) is None else found
    return None if digits is None or places is None else Precision(digits, places)


def _logical(annotation: Any, logical: Logical, marks: Sequence[object]) -> Scalar:
    shape = _plain(annotation, marks)
    if shape is None:
        raise NoCounterpart(f"Logical({logical.name!r}) stands beside int, float, str or bytes, not {annotation!r}")
    if (shape.avro, logical.name) in KNOWN_LOGICAL:
        raise NoCounterpart(f"Logical({logical.name!r}) has a Python type of its own: use that instead of the mark")
    shape.attributes = {**shape.attributes, "logicalType": logical.name}
    return shape


def _text(annotation: Any) -> Scalar | None:
    if isinstance(annotation, type) and issubclass(annotation, _TEXTS):
        return Scalar(kind="text", avro="string", python=annotation, sure=False)
    return None
