"""A payload type for Avro: its schema, and the ways between its values and what fastavro takes and gives."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from waybill.errors import ConfigurationError
from waybill_schema_registry.types import READING, avro_type

__all__ = ["Values", "values_of"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Values(Generic[T]):
    """to_datum, from_datum: `None` where values are what fastavro takes. named: whether a union's named types come as
    (full name, value)."""

    schema: Any
    to_datum: Callable[[T], Any] | None = None
    from_datum: Callable[[Any], T] | None = None
    named: bool = False


def values_of(payload: type[T], schema: Any, namespace: str | None) -> Values[T]:
    """schema: where it was given, or `None`. Raises `ConfigurationError`."""
    if schema is None:
        if payload is dict or typing.get_origin(payload) is dict:
            raise ConfigurationError(
                "Avro(registry) for a dict: give its schema, Avro(registry, schema=…), or a payload type"
            )
        made = avro_type(payload, namespace=namespace)
        return Values(
            schema=made.schema, to_datum=made.to_datum, from_datum=made.from_datum, named=READING["return_named_type"]
        )
    if not (payload is dict or typing.get_origin(payload) is dict or typing.is_typeddict(payload)):
        raise ConfigurationError(
            f"Avro(schema=…) is for topics of dict: the schema of {getattr(payload, '__name__', payload)} comes from the type itself"
        )
    return Values(schema=schema)
