"""A payload type and its Avro schema, with both ways between their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from waybill.errors import DecodeError, EncodeError
from waybill_schema_registry.types.explaining import explain, summary
from waybill_schema_registry.types.inspection import shape_of
from waybill_schema_registry.types.reading import reader
from waybill_schema_registry.types.refusal import NoCounterpart
from waybill_schema_registry.types.schemas import schema_of
from waybill_schema_registry.types.writing import writer

__all__ = ["READING", "AvroType", "avro_schema", "avro_type"]

T = TypeVar("T")

READING: Final[Mapping[str, bool]] = {"return_named_type": True}
"""What fastavro's reader must be told, so that the branch of a union is known: named types come as (full name, datum)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AvroType(Generic[T]):
    """How a payload type is written as Avro. Made once a type; the calls are for the hot path.

    schema: a JSON value. to_datum: a value as fastavro's writer takes it for `schema`: unions of named types as
    (full name, datum), so that the right branch is always taken. Raises `EncodeError`. from_datum: the value again, checked as
    the type says, of what fastavro's reader gives with `schema` as the reader's and the options `READING`. Raises
    `DecodeError`, also for what validators of the type raise.
    """

    payload: type[T]
    schema: Any
    to_datum: Callable[[T], Any]
    from_datum: Callable[[Any], T]


def avro_type(payload: type[T], *, namespace: str | None = None) -> AvroType[T]:
    """How `payload` is written as Avro.

    namespace: of the named types that say none themselves; without it they have none, so that moving a class to another
    module changes nothing. Raises `NoCounterpart`, naming field, reason and fix.
    """
    shape = shape_of(payload, namespace)
    write = writer(shape)
    try:
        read = reader(shape, payload)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise NoCounterpart(f"{payload!r}: {error.message}") from error

    def to_datum(value: T) -> Any:
        try:
            return write(value)
        except _FAILURES as error:
            raise EncodeError(f"cannot be written as Avro: {explain(shape, value, error)}") from error

    def from_datum(datum: Any) -> T:
        try:
            value: T = read(datum)
        except Exception as error:  # also what the payload's own validators raise: the body does not fit
            raise DecodeError(summary(error)) from error
        return value

    return AvroType(payload=payload, schema=schema_of(shape), to_datum=to_datum, from_datum=from_datum)


def avro_schema(payload: type[Any], *, namespace: str | None = None) -> Any:
    """The Avro schema of `payload`, as a JSON value. Raises `NoCounterpart`."""
    return schema_of(shape_of(payload, namespace))


_FAILURES = (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError)
