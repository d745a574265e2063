"""From a shape to its schema."""

from __future__ import annotations

from typing import Any

from waybill_schema_registry.types.defaults import json_of
from waybill_schema_registry.types.refusal import NoCounterpart
from waybill_schema_registry.types.shapes import ABSENT, Array, Enumeration, Field, Map, Record, Scalar, Shape, Union

__all__ = ["schema_of"]


def schema_of(shape: Shape) -> Any:
    """The schema as a JSON value. A named type is written out where it comes first, and named after that."""
    return _schema(shape, "", set())


def _schema(shape: Shape, namespace: str, seen: set[str]) -> Any:
    if isinstance(shape, Union):
        return [_schema(branch, namespace, seen) for branch in shape.branches]
    if isinstance(shape, Array):
        return {"type": "array", "items": _schema(shape.items, namespace, seen)}
    if isinstance(shape, Map):
        return {"type": "map", "values": _schema(shape.values, namespace, seen)}
    if isinstance(shape, Scalar) and shape.name is None:
        return {"type": shape.avro, **shape.attributes} if shape.attributes else shape.avro
    return _named(shape, namespace, seen)


def _named(shape: Scalar | Enumeration | Record, namespace: str, seen: set[str]) -> Any:
    full = shape.name or ""
    own, _, short = full.rpartition(".")
    if full in seen and namespace and not own:
        raise NoCounterpart(
            f"{full} has no namespace and cannot be named inside of {namespace}: give it one with Named"
        )
    if full in seen:
        return short if own == namespace else full
    seen.add(full)
    kind = "enum" if isinstance(shape, Enumeration) else "record" if isinstance(shape, Record) else "fixed"
    found: dict[str, Any] = {"type": kind, "name": short}
    if own != namespace:
        found["namespace"] = own
    if shape.doc:
        found["doc"] = shape.doc
    if shape.aliases:
        found["aliases"] = list(shape.aliases)
    if isinstance(shape, Enumeration):
        return found | {"symbols": list(shape.symbols)} | ({} if shape.default is None else {"default": shape.default})
    if isinstance(shape, Scalar):
        return found | dict(shape.attributes)
    return found | {"fields": [_field(field, own, seen) for field in shape.fields]}


def _field(field: Field, namespace: str, seen: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": field.name}
    if field.doc:
        found["doc"] = field.doc
    if field.aliases:
        found["aliases"] = list(field.aliases)
    found["type"] = _schema(field.shape, namespace, seen)
    if field.json is not ABSENT:
        found["default"] = field.json
    elif field.default is not ABSENT:
        found["default"] = json_of(field.shape, field.default)
    return found
