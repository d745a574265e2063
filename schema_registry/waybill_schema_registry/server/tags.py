"""Tags inside an Avro schema: `confluent:tags` of records and of fields, found by their places and changed there.

A record's place is its full name, a field's that and its own: `shop.Order`, `shop.Order.email`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeGuard

from waybill_schema_registry.errors import Invalid
from waybill_schema_registry.server.shapes import SchemaEntity, SchemaTags

__all__ = ["found_tags", "tagged"]

MEMBER = "confluent:tags"
ANY = "*"
RECORD, FIELD = "sr_record", "sr_field"

Place: TypeAlias = tuple[str, str, dict[str, Any]]
"""Path, kind, and the part of the schema that it is."""


def found_tags(text: str, wanted: Sequence[str]) -> list[SchemaTags]:
    """The places that have one of these tags, with all their tags; `*` is any."""
    return [
        SchemaTags(schema_entity=SchemaEntity(entity_path=path, entity_type=kind), tags=tags)
        for path, kind, part in _places(json.loads(text), "")
        if (tags := _tags(part)) and (ANY in wanted or not set(tags).isdisjoint(wanted))
    ]


def tagged(text: str, add: Iterable[SchemaTags], remove: Iterable[SchemaTags]) -> str:
    """The schema with these tags, and without those. Raises `Invalid` (42201) for a place that is not there."""
    schema = json.loads(text)
    places = {(path, kind): part for path, kind, part in _places(schema, "")}
    for change, more in ((remove, False), (add, True)):
        for one in change:
            entity = one.schema_entity
            part = places.get((entity.entity_path, entity.entity_type.lower()))
            if part is None:
                raise Invalid(f"No {entity.entity_type} with the path '{entity.entity_path}' can be tagged", code=42201)
            rest = [tag for tag in _tags(part) if tag not in one.tags]
            part[MEMBER] = [*rest, *dict.fromkeys(one.tags)] if more else rest
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def _places(schema: Any, namespace: str) -> Iterator[Place]:
    if _is_list(schema):
        for branch in schema:
            yield from _places(branch, namespace)
    elif _is_object(schema):
        if schema.get("type") in ("record", "error"):
            yield from _record(schema, namespace)
        else:
            for member in ("type", "items", "values"):
                yield from _places(schema.get(member), namespace)


def _record(schema: dict[str, Any], namespace: str) -> Iterator[Place]:
    name = str(schema.get("name", ""))
    given = str(schema.get("namespace", namespace))
    full = name if "." in name or not given else f"{given}.{name}"
    yield full, RECORD, schema
    fields = schema.get("fields")
    for field in fields if _is_list(fields) else ():
        if not _is_object(field):
            continue
        yield f"{full}.{field.get('name')}", FIELD, field
        yield from _places(field.get("type"), full.rpartition(".")[0])


def _tags(part: dict[str, Any]) -> list[str]:
    tags = part.get(MEMBER)
    return [tag for tag in tags if isinstance(tag, str)] if _is_list(tags) else []


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
